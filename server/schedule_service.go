// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// deadList is the schedules that have failed for good; [actors.Host] has one.
type deadList interface {
	DeadSchedules(ctx context.Context, q actors.DeadQuery) ([]actors.DeadSchedule, error)
	RetrySchedule(ctx context.Context, target actors.Target, id string) error
	DropSchedule(ctx context.Context, target actors.Target, id string) error
}

// ListDeadSchedules implements [troupev1connect.ActorServiceHandler].
func (s *actorService) ListDeadSchedules(ctx context.Context, req *troupev1.ListDeadSchedulesRequest) (*troupev1.ListDeadSchedulesResponse, error) {
	if !s.trusted(ctx) {
		return nil, needsServerRole.errorf("ListDeadSchedules needs the server role")
	}
	if err := s.check(req); err != nil {
		return nil, err
	}
	query, err := s.deadQuery(ctx, req)
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	query.Limit = size + 1
	found, err := s.directory.DeadSchedules(ctx, query)
	if err != nil {
		return nil, err
	}
	response := &troupev1.ListDeadSchedulesResponse{}
	if len(found) > size {
		found = found[:size]
		response.NextPageToken = encodeDeadToken(found[size-1].ActorID, found[size-1].ID)
	}
	for _, dead := range found {
		message, err := deadScheduleOf(dead)
		if err != nil {
			return nil, err
		}
		response.Schedules = append(response.Schedules, message)
	}
	return response, nil
}

func (s *actorService) deadQuery(ctx context.Context, req *troupev1.ListDeadSchedulesRequest) (actors.DeadQuery, error) {
	query := actors.DeadQuery{Type: req.GetType()}
	var err error
	if req.GetAddress() != nil {
		if req.GetNamespace() != "" || req.GetType() != "" {
			return query, addressConflict.errorf("an address excludes namespace and type")
		}
		target, err := s.target(ctx, req.GetAddress(), actors.Get)
		if err != nil {
			return query, err
		}
		query.Actor, query.Namespace = &target, target.Address.Namespace
	} else if query.Namespace, err = s.namespaces.check(principalOf(ctx), req.GetNamespace()); err != nil {
		return query, err
	}
	query.AfterActor, query.AfterID, err = decodeDeadToken(req.GetPageToken())
	return query, err
}

// RetrySchedule implements [troupev1connect.ActorServiceHandler].
func (s *actorService) RetrySchedule(ctx context.Context, req *troupev1.RetryScheduleRequest) (*troupev1.RetryScheduleResponse, error) {
	err := s.manage(ctx, "RetrySchedule", req, req.GetAddress(), func(ctx context.Context, target actors.Target) error {
		return s.directory.RetrySchedule(ctx, target, req.GetSchedule())
	})
	if err != nil {
		return nil, err
	}
	return &troupev1.RetryScheduleResponse{}, nil
}

// DropSchedule implements [troupev1connect.ActorServiceHandler].
func (s *actorService) DropSchedule(ctx context.Context, req *troupev1.DropScheduleRequest) (*troupev1.DropScheduleResponse, error) {
	err := s.manage(ctx, "DropSchedule", req, req.GetAddress(), func(ctx context.Context, target actors.Target) error {
		return s.directory.DropSchedule(ctx, target, req.GetSchedule())
	})
	if err != nil {
		return nil, err
	}
	return &troupev1.DropScheduleResponse{}, nil
}

// manage does something about one schedule or message of an actor, and writes down
// who asked for it.
func (s *actorService) manage(ctx context.Context, act string, req proto.Message, address *troupev1.Address, do func(context.Context, actors.Target) error) error {
	target, err := s.charge(ctx, act, req, address)
	if err != nil {
		return err
	}
	err = do(ctx, target)
	s.audit(ctx, act, target, err)
	return err
}

// deadScheduleOf describes a schedule on the wire.
func deadScheduleOf(d actors.DeadSchedule) (*troupev1.DeadSchedule, error) {
	key, err := wire.DecodeKey(d.Key)
	if err != nil {
		return nil, err
	}
	return &troupev1.DeadSchedule{
		ActorId:   d.ActorID.String(),
		Namespace: d.Namespace,
		Type:      d.Type,
		Key:       key,
		Schedule:  d.ID,
		Name:      d.Name,
		Procedure: d.Procedure,
		MadeAt:    timestamppb.New(d.MadeAt),
		Due:       timestamppb.New(d.Due),
		Attempts:  uint32(d.Attempts),
		LastError: d.LastError,
		FailedAt:  timestamppb.New(d.FailedAt),
	}, nil
}

// encodeDeadToken names the last schedule or message of a page.
func encodeDeadToken(actor store.ID, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join([]string{pageTokenVersion, actor.String(), id}, "\x00")))
}

// decodeDeadToken is the inverse of [encodeDeadToken].
func decodeDeadToken(token string) (actor store.ID, id string, err error) {
	if token == "" {
		return store.ID{}, "", nil
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	parts := strings.Split(string(data), "\x00")
	if err == nil && len(parts) == 3 && parts[0] == pageTokenVersion {
		if actor, err = store.ParseID(parts[1]); err == nil {
			return actor, parts[2], nil
		}
	}
	return store.ID{}, "", badPageToken.errorf("page_token is not one that this server gave")
}
