// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"context"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// CreateActor creates the actor of a type with the address's key and returns its id.
// It fails with already_exists if the key is taken. The input may be as large as a
// request; the address's resolve mode and parameters do not matter here.
func (c *Client) CreateActor(ctx context.Context, actorType string, address Address) (string, error) {
	input, err := packInput(address.Input)
	if err != nil {
		return "", err
	}
	created, err := c.Actors().Create(ctx, &troupev1.CreateRequest{Address: c.messageOf(actorType, address), Input: input})
	return created.GetActor().GetId(), err
}

// Resolve returns the id that a key has now. It fails with not_found if there is no
// such actor, and creates none.
func (c *Client) Resolve(ctx context.Context, actorType string, key ...string) (string, error) {
	resolved, err := c.Actors().Resolve(ctx, &troupev1.ResolveRequest{Address: c.Address(actorType, key...)})
	return resolved.GetId(), err
}

// messageOf is an address in the form of the lifecycle service.
func (c *Client) messageOf(actorType string, address Address) *troupev1.Address {
	if address.ID != "" {
		return &troupev1.Address{Namespace: address.Namespace, Id: address.ID}
	}
	message := c.Address(actorType, address.Key...)
	if address.Namespace != "" {
		message.Namespace = address.Namespace
	}
	return message
}

func packInput(input proto.Message) (*anypb.Any, error) {
	if input == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	packed, err := anypb.New(input)
	if err != nil {
		return nil, localErrorf("the address's input: %v", err)
	}
	return packed, nil
}

// largeInput creates an actor whose input does not fit into the metadata of its calls,
// before the first of them.
type largeInput struct {
	client  *Client
	address Address
	input   *anypb.Any
	done    chan bool // a lock that a caller may leave; true once the actor is there
}

// newLargeInput takes an input that is too large out of an address. It returns nil if
// there is none.
func newLargeInput(c *Client, address *Address) (*largeInput, error) {
	if address.Input == nil || proto.Size(address.Input) <= wire.MaxBinaryHeaderBytes || address.ID != "" || address.Resolve == Get {
		return nil, nil //nolint:nilnil // nothing to do
	}
	input, err := packInput(address.Input)
	if err != nil {
		return nil, err
	}
	address.Input = nil
	l := &largeInput{client: c, address: *address, input: input, done: make(chan bool, 1)}
	l.address.Key = slices.Clone(address.Key)
	l.done <- false
	return l, nil
}

// intercept runs the creation before a call.
func (l *largeInput) intercept(next connect.ClientFunc) connect.ClientFunc {
	return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
		if err := l.create(ctx, spec); err != nil {
			return nil, err
		}
		return next(ctx, spec)
	}
}

func (l *largeInput) create(ctx context.Context, spec connect.Spec) (err error) {
	var done bool
	select {
	case done = <-l.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { l.done <- done || err == nil }()
	if done {
		return nil
	}
	service, _, _ := strings.Cut(strings.TrimPrefix(spec.Procedure, "/"), "/")
	address := l.client.messageOf(service, l.address)
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	own, _ = connect.NewClientContext(own) // the call keeps its metadata
	if l.address.Resolve == Create {
		_, err = l.client.Actors().Create(own, &troupev1.CreateRequest{Address: address, Input: l.input})
		return err
	}
	_, err = l.client.Actors().GetOrCreate(own, &troupev1.GetOrCreateRequest{Address: address, Input: l.input})
	return err
}
