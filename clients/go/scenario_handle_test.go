// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"fmt"

	"connectrpc.com/connect/v2"
	troupe "github.com/troupe-dev/troupe/clients/go"
	stagev1 "github.com/troupe-dev/troupe/gen/go/stage/v1"
	"github.com/troupe-dev/troupe/gen/go/stage/v1/stagev1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// stageHandle is a named handle of a scenario.
type stageHandle struct {
	client  *troupe.Client
	address troupe.Address
	bound   *connect.Client
	stage   stagev1connect.StageClient
	getter  stagev1connect.StageClient // by HTTP GET
}

// wire is the handle's address as the lifecycle API has it.
func (h *stageHandle) wire() *troupev1.Address {
	if h.address.ID != "" {
		return &troupev1.Address{Id: h.address.ID}
	}
	return h.client.Address(stagev1connect.StageName, h.address.Key...)
}

func (p *performance) handle(ctx context.Context, s *step) error {
	h := &stageHandle{client: p.client, address: troupe.Address{Key: s.Key, ID: p.text(s.ID)}}
	if s.Direct {
		h.client = p.direct
	}
	if s.Verb == "get" {
		h.address.Resolve = troupe.Get
	}
	if s.Params != nil {
		all, err := watchRequests(s.Params)
		if err != nil {
			return err
		}
		h.address.Params = all[0]
	}
	if s.Input != nil {
		input := new(stagev1.StageInput)
		if err := fromJSON(s.Input, input); err != nil {
			return err
		}
		h.address.Input = input
	}
	h.bound = h.client.Bind(h.address)
	h.stage = stagev1connect.NewStageClient(h.bound)
	h.getter = stagev1connect.NewStageClient(p.getter.Bind(h.address))
	p.handles[s.As] = h
	return nil
}

func (p *performance) create(ctx context.Context, s *step) error {
	input := new(stagev1.StageInput)
	if err := fromJSON(s.Input, input); err != nil {
		return err
	}
	id, err := p.client.CreateActor(ctx, stagev1connect.StageName, troupe.Address{Key: s.Key, Input: input})
	if err == nil {
		h := &stageHandle{client: p.client, address: troupe.Address{ID: id}}
		h.bound = p.client.Bind(h.address)
		h.stage = stagev1connect.NewStageClient(h.bound)
		p.handles[s.As] = h
	}
	return verdict(s, nil, err)
}

func (p *performance) resolve(ctx context.Context, s *step) error {
	h := p.handles[s.Handle]
	id, err := h.client.Resolve(ctx, stagev1connect.StageName, h.address.Key...)
	if err == nil && s.Is != "" && id != p.text(s.Is) {
		return fmt.Errorf("the id is %s, want %s", id, p.text(s.Is))
	}
	return verdict(s, nil, err)
}
