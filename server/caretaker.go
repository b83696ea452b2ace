// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/base64"
	"log/slog"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// maxExportBytes bounds the rows of one page of an export.
const maxExportBytes = 1 << 20

// caretaker looks after what is stored; [actors.Host] is one.
type caretaker interface {
	Export(ctx context.Context, target actors.Target, after *actors.RowPlace, limit, maxBytes int) (actors.Description, []actors.StoredRow, *actors.RowPlace, error)
	Repair(ctx context.Context, target actors.Target, revision uint64, set func(state proto.Message) error) (actors.Description, error)
	Quarantine(ctx context.Context, target actors.Target) (actors.Description, error)
	Lift(ctx context.Context, target actors.Target) (actors.Description, error)
	Compact(ctx context.Context) error
}

// charge checks a request that needs the server role, and reads its address.
func (s *actorService) charge(ctx context.Context, method string, req proto.Message, address *troupev1.Address) (actors.Target, error) {
	if !s.trusted(ctx) {
		return actors.Target{}, needsServerRole.errorf("%s needs the server role", method)
	}
	if err := s.check(req); err != nil {
		return actors.Target{}, err
	}
	return s.target(ctx, address, actors.Get)
}

// audit writes down who has changed what, whether it went well or not.
func (s *actorService) audit(ctx context.Context, act string, target actors.Target, err error) {
	outcome := "ok"
	if err != nil {
		outcome = connect.CodeOf(err).String()
	}
	attrs := []slog.Attr{slog.String("act", act), slog.String("outcome", outcome)}
	if target.Address.Namespace != "" {
		attrs = append(attrs, slog.String("namespace", target.Address.Namespace))
	}
	if target.ID.IsZero() && target.Address.Type != "" {
		attrs = append(attrs, slog.String("actor", target.Address.Type), slog.String("key", target.Address.Key))
	} else if !target.ID.IsZero() {
		attrs = append(attrs, slog.String("id", target.ID.String()))
	}
	if subject := principalOf(ctx).subject(); subject != "" {
		attrs = append(attrs, slog.String("subject", subject))
	}
	if info, ok := connect.CallInfoForServerContext(ctx); ok {
		attrs = append(attrs, slog.String("peer", info.PeerAddr))
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "audit", attrs...)
}

// Export implements [troupev1connect.ActorServiceHandler].
func (s *actorService) Export(ctx context.Context, req *troupev1.ExportRequest) (*troupev1.ExportResponse, error) {
	target, err := s.charge(ctx, "Export", req, req.GetAddress())
	if err != nil {
		return nil, err
	}
	after, err := decodeRowToken(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	d, rows, next, err := s.directory.Export(ctx, target, after, size, maxExportBytes)
	s.audit(ctx, "Export", target, err)
	if err != nil {
		return nil, err
	}
	response := &troupev1.ExportResponse{EventHead: d.EventHead, NextPageToken: encodeRowToken(next)}
	if response.Actor, err = s.actorOf(ctx, d); err != nil {
		return nil, err
	}
	if after == nil {
		response.State = d.State
	}
	for _, row := range rows {
		wire := &troupev1.Row{Kind: troupev1.Row_Kind(row.Kind), Key: row.Key, Value: row.Value}
		if !row.Due.IsZero() {
			wire.DueAt = timestamppb.New(row.Due)
		}
		response.Rows = append(response.Rows, wire)
	}
	return response, nil
}

// Repair implements [troupev1connect.ActorServiceHandler].
func (s *actorService) Repair(ctx context.Context, req *troupev1.RepairRequest) (*troupev1.RepairResponse, error) {
	actor, err := s.repair(ctx, "Repair", req, req.GetAddress(), req.GetRevision(), func(state proto.Message) error {
		if text, ok := req.GetState().(*troupev1.RepairRequest_Json); ok {
			return protojson.Unmarshal([]byte(text.Json), state)
		}
		return proto.Unmarshal(req.GetBinary(), state)
	})
	if err != nil {
		return nil, err
	}
	return &troupev1.RepairResponse{Actor: actor}, nil
}

// Reset implements [troupev1connect.ActorServiceHandler].
func (s *actorService) Reset(ctx context.Context, req *troupev1.ResetRequest) (*troupev1.ResetResponse, error) {
	actor, err := s.repair(ctx, "Reset", req, req.GetAddress(), req.GetRevision(), func(proto.Message) error { return nil })
	if err != nil {
		return nil, err
	}
	return &troupev1.ResetResponse{Actor: actor}, nil
}

func (s *actorService) repair(ctx context.Context, method string, req proto.Message, address *troupev1.Address, revision uint64, set func(proto.Message) error) (*troupev1.Actor, error) {
	target, err := s.charge(ctx, method, req, address)
	if err != nil {
		return nil, err
	}
	d, err := s.directory.Repair(ctx, target, revision, set)
	s.audit(ctx, method, target, err)
	if err != nil {
		return nil, err
	}
	return s.actorOf(ctx, d)
}

// Quarantine implements [troupev1connect.ActorServiceHandler].
func (s *actorService) Quarantine(ctx context.Context, req *troupev1.QuarantineRequest) (*troupev1.QuarantineResponse, error) {
	actor, err := s.tend(ctx, "Quarantine", req, req.GetAddress(), s.directory.Quarantine)
	if err != nil {
		return nil, err
	}
	return &troupev1.QuarantineResponse{Actor: actor}, nil
}

// tend does something about one actor and describes it.
func (s *actorService) tend(ctx context.Context, method string, req proto.Message, address *troupev1.Address, do func(context.Context, actors.Target) (actors.Description, error)) (*troupev1.Actor, error) {
	target, err := s.charge(ctx, method, req, address)
	if err != nil {
		return nil, err
	}
	d, err := do(ctx, target)
	s.audit(ctx, method, target, err)
	if err != nil {
		return nil, err
	}
	return s.actorOf(ctx, d)
}

// Lift implements [troupev1connect.ActorServiceHandler].
func (s *actorService) Lift(ctx context.Context, req *troupev1.LiftRequest) (*troupev1.LiftResponse, error) {
	actor, err := s.tend(ctx, "Lift", req, req.GetAddress(), s.directory.Lift)
	if err != nil {
		return nil, err
	}
	return &troupev1.LiftResponse{Actor: actor}, nil
}

// Compact implements [troupev1connect.ActorServiceHandler].
func (s *actorService) Compact(ctx context.Context, _ *troupev1.CompactRequest) (*troupev1.CompactResponse, error) {
	if !s.trusted(ctx) {
		return nil, needsServerRole.errorf("Compact needs the server role")
	}
	if !principalOf(ctx).may(anyNamespace) {
		return nil, namespaceDenied.errorf("Compact is about every namespace: its caller needs them all")
	}
	err := s.directory.Compact(ctx)
	s.audit(ctx, "Compact", actors.Target{}, err)
	if err != nil {
		return nil, err
	}
	return &troupev1.CompactResponse{}, nil
}

// statuses are the statuses on the wire.
var statuses = map[actors.Status]troupev1.Actor_Status{
	actors.StatusStarting:    troupev1.Actor_STATUS_STARTING,
	actors.StatusAwake:       troupev1.Actor_STATUS_AWAKE,
	actors.StatusSleeping:    troupev1.Actor_STATUS_SLEEPING,
	actors.StatusCrashed:     troupev1.Actor_STATUS_CRASHED,
	actors.StatusQuarantined: troupev1.Actor_STATUS_QUARANTINED,
	actors.StatusDestroyed:   troupev1.Actor_STATUS_DESTROYED,
}

// rowTokenVersion begins every page token of an export.
const rowTokenVersion = 1

// encodeRowToken names the last row of a page.
func encodeRowToken(last *actors.RowPlace) string {
	if last == nil {
		return ""
	}
	token := append([]byte{rowTokenVersion, byte(last.Kind)}, last.Key...)
	return base64.RawURLEncoding.EncodeToString(token)
}

// decodeRowToken is the inverse of [encodeRowToken].
func decodeRowToken(token string) (*actors.RowPlace, error) {
	if token == "" {
		return nil, nil //nolint:nilnil // the first page
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(data) < 2 || data[0] != rowTokenVersion {
		return nil, badPageToken.errorf("page_token is not one that this server gave")
	}
	return &actors.RowPlace{Kind: store.Kind(data[1]), Key: data[2:]}, nil
}
