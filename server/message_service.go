// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"strconv"

	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// deadLetters is the messages that have failed for good; [actors.Host] has them.
type deadLetters interface {
	DeadMessages(ctx context.Context, q actors.DeadQuery) ([]actors.DeadMessage, error)
	RetryMessage(ctx context.Context, target actors.Target, number uint64) error
	DropMessage(ctx context.Context, target actors.Target, number uint64) error
}

// ListDeadMessages implements [troupev1connect.ActorServiceHandler].
func (s *actorService) ListDeadMessages(ctx context.Context, req *troupev1.ListDeadMessagesRequest) (*troupev1.ListDeadMessagesResponse, error) {
	if !s.trusted(ctx) {
		return nil, needsServerRole.errorf("ListDeadMessages needs the server role")
	}
	if err := s.check(req); err != nil {
		return nil, err
	}
	query, err := s.deadQuery(ctx, &troupev1.ListDeadSchedulesRequest{
		Address: req.GetAddress(), Namespace: req.GetNamespace(), Type: req.GetType(), PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	if query.AfterID != "" {
		if query.AfterNumber, err = strconv.ParseUint(query.AfterID, 10, 64); err != nil {
			return nil, badPageToken.errorf("page_token is not one that this server gave")
		}
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	query.Limit = size + 1
	found, err := s.directory.DeadMessages(ctx, query)
	if err != nil {
		return nil, err
	}
	response := &troupev1.ListDeadMessagesResponse{}
	if len(found) > size {
		found = found[:size]
		last := found[size-1]
		response.NextPageToken = encodeDeadToken(last.ActorID, strconv.FormatUint(last.Number, 10))
	}
	for _, dead := range found {
		message, err := deadMessageOf(dead)
		if err != nil {
			return nil, err
		}
		response.Messages = append(response.Messages, message)
	}
	return response, nil
}

// RetryMessage implements [troupev1connect.ActorServiceHandler].
func (s *actorService) RetryMessage(ctx context.Context, req *troupev1.RetryMessageRequest) (*troupev1.RetryMessageResponse, error) {
	err := s.manage(ctx, "RetryMessage", req, req.GetAddress(), func(ctx context.Context, target actors.Target) error {
		return s.directory.RetryMessage(ctx, target, req.GetMessage())
	})
	if err != nil {
		return nil, err
	}
	return &troupev1.RetryMessageResponse{}, nil
}

// DropMessage implements [troupev1connect.ActorServiceHandler].
func (s *actorService) DropMessage(ctx context.Context, req *troupev1.DropMessageRequest) (*troupev1.DropMessageResponse, error) {
	err := s.manage(ctx, "DropMessage", req, req.GetAddress(), func(ctx context.Context, target actors.Target) error {
		return s.directory.DropMessage(ctx, target, req.GetMessage())
	})
	if err != nil {
		return nil, err
	}
	return &troupev1.DropMessageResponse{}, nil
}

// deadMessageOf describes a message on the wire.
func deadMessageOf(d actors.DeadMessage) (*troupev1.DeadMessage, error) {
	key, err := wire.DecodeKey(d.Key)
	if err != nil {
		return nil, err
	}
	receiver, err := receiverOf(d)
	if err != nil {
		return nil, err
	}
	return &troupev1.DeadMessage{
		ActorId:   d.ActorID.String(),
		Namespace: d.Namespace,
		Type:      d.Type,
		Key:       key,
		Message:   d.Number,
		Receiver:  receiver,
		Procedure: d.Procedure,
		SentAt:    timestamppb.New(d.SentAt),
		Attempts:  uint32(d.Attempts),
		LastError: d.LastError,
		FailedAt:  timestamppb.New(d.FailedAt),
	}, nil
}

func receiverOf(d actors.DeadMessage) (*troupev1.Address, error) {
	if d.ReceiverID != (store.ID{}) {
		return &troupev1.Address{Namespace: d.Namespace, Id: d.ReceiverID.String()}, nil
	}
	key, err := wire.DecodeKey(d.ReceiverKey)
	if err != nil {
		return nil, err
	}
	return &troupev1.Address{Namespace: d.Namespace, Type: d.ReceiverType, Key: key}, nil
}
