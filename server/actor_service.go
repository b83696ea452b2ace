// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"encoding/base64"
	"log/slog"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const defaultPageSize = 100

// directory finds, makes and ends actors; [actors.Host] is one.
type directory interface {
	Ensure(ctx context.Context, target actors.Target, input []byte) (d actors.Description, created bool, err error)
	Destroy(ctx context.Context, target actors.Target) (store.ID, error)
	List(ctx context.Context, q store.ListQuery) ([]actors.Description, error)
	deadList
	caretaker
	deadLetters
}

// actorService is the lifecycle API.
type actorService struct {
	directory  directory
	namespaces namespaces
	inputs     map[string]protoreflect.FullName // actor type → input message, "" without one
	check      func(proto.Message) error
	trusted    func(ctx context.Context) bool // whether the caller has the server role
	log        *slog.Logger                   // for the audit
	watches    *watches
}

var (
	_ directory                           = (*actors.Host)(nil)
	_ troupev1connect.ActorServiceHandler = (*actorService)(nil)
)

// Create implements [troupev1connect.ActorServiceHandler].
func (s *actorService) Create(ctx context.Context, req *troupev1.CreateRequest) (*troupev1.CreateResponse, error) {
	actor, _, err := s.ensure(ctx, req, req.GetAddress(), req.GetInput(), actors.Create)
	if err != nil {
		return nil, err
	}
	return &troupev1.CreateResponse{Actor: actor}, nil
}

// GetOrCreate implements [troupev1connect.ActorServiceHandler].
func (s *actorService) GetOrCreate(ctx context.Context, req *troupev1.GetOrCreateRequest) (*troupev1.GetOrCreateResponse, error) {
	actor, created, err := s.ensure(ctx, req, req.GetAddress(), req.GetInput(), actors.GetOrCreate)
	if err != nil {
		return nil, err
	}
	return &troupev1.GetOrCreateResponse{Actor: actor, Created: created}, nil
}

// Get implements [troupev1connect.ActorServiceHandler].
func (s *actorService) Get(ctx context.Context, req *troupev1.GetRequest) (*troupev1.GetResponse, error) {
	actor, _, err := s.ensure(ctx, req, req.GetAddress(), nil, actors.Get)
	if err != nil {
		return nil, err
	}
	return &troupev1.GetResponse{Actor: actor}, nil
}

// Resolve implements [troupev1connect.ActorServiceHandler].
func (s *actorService) Resolve(ctx context.Context, req *troupev1.ResolveRequest) (*troupev1.ResolveResponse, error) {
	actor, _, err := s.ensure(ctx, req, req.GetAddress(), nil, actors.Get)
	if err != nil {
		return nil, err
	}
	return &troupev1.ResolveResponse{Id: actor.GetId()}, nil
}

// Destroy implements [troupev1connect.ActorServiceHandler].
func (s *actorService) Destroy(ctx context.Context, req *troupev1.DestroyRequest) (*troupev1.DestroyResponse, error) {
	target, err := s.charge(ctx, "Destroy", req, req.GetAddress())
	if err != nil {
		return nil, err
	}
	id, err := s.directory.Destroy(ctx, target)
	s.audit(ctx, "Destroy", target, err)
	if err != nil {
		return nil, err
	}
	return &troupev1.DestroyResponse{Id: id.String()}, nil
}

func (s *actorService) ensure(ctx context.Context, req proto.Message, address *troupev1.Address, input *anypb.Any, resolve actors.Resolve) (*troupev1.Actor, bool, error) {
	if err := s.check(req); err != nil {
		return nil, false, err
	}
	target, err := s.target(ctx, address, resolve)
	if err != nil {
		return nil, false, err
	}
	encoded, err := s.input(target.Address.Type, input)
	if err != nil {
		return nil, false, err
	}
	description, created, err := s.directory.Ensure(ctx, target, encoded)
	if err != nil {
		return nil, false, err
	}
	actor, err := s.actorOf(ctx, description)
	return actor, created, err
}

// target reads an address.
func (s *actorService) target(ctx context.Context, address *troupev1.Address, resolve actors.Resolve) (actors.Target, error) {
	namespace, err := s.namespaces.check(principalOf(ctx), address.GetNamespace())
	if err != nil {
		return actors.Target{}, err
	}
	target := actors.Target{Address: store.Address{Namespace: namespace}, Resolve: resolve}
	if text := address.GetId(); text != "" {
		if address.GetType() != "" || len(address.GetKey()) > 0 {
			return target, addressConflict.errorf("an address by id has neither type nor key")
		}
		if resolve != actors.Get {
			return target, addressConflict.errorf("an id names an actor that exists: create by type and key")
		}
		if target.ID, err = store.ParseID(text); err != nil {
			return target, badActorID.errorf("%s", err)
		}
		return target, nil
	}
	if target.Address.Type = address.GetType(); target.Address.Type == "" {
		return target, badActorType.errorf("an address has an id, or a type and a key")
	}
	if _, ok := s.inputs[target.Address.Type]; !ok {
		return target, badActorType.errorf("this server has no actor type %q", target.Address.Type)
	}
	if target.Address.Key, err = wire.EncodeKey(address.GetKey()); err != nil {
		return target, badActorKey.errorf("%s", err)
	}
	return target, nil
}

// input checks that a creation's input is the message that the actor type wants.
// Its content is validated by the host.
func (s *actorService) input(actorType string, input *anypb.Any) ([]byte, error) {
	if input == nil {
		return nil, nil
	}
	want := s.inputs[actorType]
	if want == "" {
		return nil, badActorInput.errorf("%s takes no input", actorType)
	}
	if got := input.MessageName(); got != want {
		return nil, badActorInput.errorf("the input of %s is a %s, not a %q", actorType, want, got)
	}
	if input.Value == nil {
		return []byte{}, nil
	}
	return input.GetValue(), nil
}

// List implements [troupev1connect.ActorServiceHandler].
func (s *actorService) List(ctx context.Context, req *troupev1.ListRequest) (*troupev1.ListResponse, error) {
	if !s.trusted(ctx) {
		return nil, needsServerRole.errorf("List needs the server role")
	}
	if err := s.check(req); err != nil {
		return nil, err
	}
	namespace, err := s.namespaces.check(principalOf(ctx), req.GetNamespace())
	if err != nil {
		return nil, err
	}
	if len(req.GetKeyPrefix()) > 0 && req.GetType() == "" {
		return nil, badActorKey.errorf("key_prefix needs a type")
	}
	prefix, err := wire.EncodeKey(req.GetKeyPrefix())
	if err != nil {
		return nil, badActorKey.errorf("%s", err)
	}
	query := store.ListQuery{Namespace: namespace, Type: req.GetType()}
	if query.After, err = decodePageToken(req.GetPageToken(), query); err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	found, err := s.page(ctx, query, prefix, size+1)
	if err != nil {
		return nil, err
	}
	response := &troupev1.ListResponse{}
	if len(found) > size {
		found = found[:size]
		response.NextPageToken = encodePageToken(found[size-1].Address)
	}
	for _, description := range found {
		actor, err := s.actorOf(ctx, description)
		if err != nil {
			return nil, err
		}
		response.Actors = append(response.Actors, actor)
	}
	return response, nil
}

// page lists up to limit actors whose key begins with the segments of prefix. The
// store compares bytes, so that the key that is the prefix and the keys below it
// are asked for apart.
func (s *actorService) page(ctx context.Context, query store.ListQuery, prefix string, limit int) ([]actors.Description, error) {
	query.Limit = limit
	if prefix == "" {
		return s.directory.List(ctx, query)
	}
	var found []actors.Description
	if query.After == nil {
		query.KeyPrefix, query.Limit = prefix, 1
		first, err := s.directory.List(ctx, query)
		if err != nil {
			return nil, err
		}
		if len(first) > 0 && first[0].Key == prefix {
			found = first
		}
	}
	query.KeyPrefix, query.Limit = prefix+"/", limit-len(found)
	if query.Limit == 0 {
		return found, nil
	}
	below, err := s.directory.List(ctx, query)
	return append(found, below...), err
}

// actorOf describes an actor on the wire. What went wrong with it is only for those
// who run the server.
func (s *actorService) actorOf(ctx context.Context, d actors.Description) (*troupev1.Actor, error) {
	key, err := wire.DecodeKey(d.Key)
	if err != nil {
		return nil, err
	}
	actor := &troupev1.Actor{
		Id:          d.ID.String(),
		Namespace:   d.Namespace,
		Type:        d.Type,
		Key:         key,
		CreatedAt:   timestamppb.New(d.CreatedAt),
		Revision:    d.Revision,
		StateBytes:  uint64(d.StateBytes),
		Awake:       d.Awake,
		Connections: uint32(d.Connections),
		Status:      statuses[d.Status],

		StateVersion: d.StateVersion,
		Damaged:      d.Damaged,
	}
	if d.ID.IsZero() { // of one that is damaged
		actor.Id = ""
	}
	if !d.RetryAt.IsZero() {
		actor.RetryAt = timestamppb.New(d.RetryAt)
	}
	if d.LastError != "" && s.trusted(ctx) {
		actor.LastError = strings.ToValidUTF8(d.LastError, "\uFFFD")
		if !d.LastErrorAt.IsZero() {
			actor.LastErrorAt = timestamppb.New(d.LastErrorAt)
		}
	}
	return actor, nil
}

// pageTokenVersion begins every page token.
const pageTokenVersion = "1"

// encodePageToken names the last actor of a page.
func encodePageToken(last store.Address) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join([]string{pageTokenVersion, last.Namespace, last.Type, last.Key}, "\x00")))
}

// decodePageToken is the inverse of [encodePageToken]. A token belongs to the
// query that it was made for.
func decodePageToken(token string, query store.ListQuery) (*store.Address, error) {
	if token == "" {
		return nil, nil //nolint:nilnil // the first page
	}
	data, err := base64.RawURLEncoding.DecodeString(token)
	parts := strings.Split(string(data), "\x00")
	if err != nil || len(parts) != 4 || parts[0] != pageTokenVersion {
		return nil, badPageToken.errorf("page_token is not one that this server gave")
	}
	after := &store.Address{Namespace: parts[1], Type: parts[2], Key: parts[3]}
	if after.Namespace != query.Namespace || query.Type != "" && after.Type != query.Type {
		return nil, badPageToken.errorf("page_token belongs to another query")
	}
	return after, nil
}

// lifecycleReplies says of a reply of the ActorService that has more than limit bytes
// that this is what is wrong. Connect's own error might be about the request.
func lifecycleReplies(limit int) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			if serviceName(spec.Procedure) == troupev1connect.ActorServiceName {
				stream = &lifecycleStream{stream, spec, limit}
			}
			return next(ctx, spec, stream)
		}
	}
}

// lifecycleStream is one call of the ActorService.
type lifecycleStream struct {
	connect.ServerStream

	spec  connect.Spec
	limit int
}

// Send implements [connect.ServerStream].
func (s *lifecycleStream) Send(reply any) error {
	err := s.ServerStream.Send(reply)
	if message, ok := reply.(proto.Message); ok && connect.CodeOf(err) == connect.CodeResourceExhausted {
		return replyTooLarge(proto.Size(message), s.limit, s.spec.IdempotencyLevel != connect.IdempotencyNoSideEffects)
	}
	return err
}

// schema returns the service's descriptor.
func (*actorService) schema() protoreflect.ServiceDescriptor {
	return troupev1.File_troupe_v1_actor_service_proto.Services().ByName("ActorService")
}
