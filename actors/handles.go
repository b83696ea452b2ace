// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/proto"
)

// Handles makes handles of actors in this process, all of one namespace: what the
// generated constructor of a client takes. Calls go from turn to turn without a
// socket.
//
//	account := bankv1connect.NewAccountClient(a.Actors().GetOrCreate("acme", "7"))
//	reply, err := account.Deposit(ctx, &bankv1.DepositRequest{Amount: 5})
//
// The context of a call made in a turn is that of the turn: it carries the deadline
// and the chain of calls. A call leaves at once. It does not see what the caller's
// turn has changed so far, and is not undone if that turn fails; the earlier turns of
// the caller are durable before it leaves. What must happen once and only with the
// caller's turn is a message of the actor's outbox instead: see [Actor.Outbox].
//
// A call that comes back to an actor whose turn waits for it fails at once with
// failed_precondition and the reason call_cycle, as does the call that makes turns
// wait for each other in a ring; one in a chain of more than 16 actors has the reason
// call_depth. An actor returns these to its own caller as they are. Of any other
// error that it got, its caller sees internal only, unless it uses [Relay].
//
// The called actor sees the caller as its subject: "actor:", the caller's type, "/"
// and its key as text. Its [BeforeConnect] hook runs, and is told that the call is
// internal. Internal methods can be called. The metadata traceparent, tracestate and
// baggage of the call that the caller serves is passed on, and so is what the caller
// sets by [connect.NewClientContext].
//
// Events of another actor are received through the generated client too, outside
// turns only: a stream in a turn would hold the actor.
//
// A Handles and the clients made with it may be used concurrently, and kept.
type Handles struct {
	host      *Host
	namespace string
	from      *instance // nil outside an actor
	err       error
}

// Peer names an actor for [Handles.Bind] and [Outbox.Send]. The zero Peer is the
// singleton with the empty key.
type Peer struct {
	// Key is the actor's key. Excludes ID.
	Key []string
	// ID names one incarnation. Excludes Key, Resolve and Input.
	ID string
	// Resolve says what to do about an absent or present actor.
	Resolve Resolve
	// Input is the actor type's input message, for the call that creates the
	// actor.
	Input proto.Message
	// Params is the connection parameters of the call: the request of the
	// actor's subscription.
	Params proto.Message
}

// Actors returns what makes clients of other actors, in the actor's own namespace.
func (a *Actor[State, Event]) Actors() Handles {
	i := a.body.inst
	return Handles{host: i.host, namespace: i.addr.Namespace, from: i}
}

// Actors returns what makes clients of the actors of the attempt's namespace, for a
// hook that asks them before it lets the caller in. The calls have no subject.
func (a Attempt) Actors() Handles {
	if a.host == nil {
		return Handles{err: refusal(connect.CodeFailedPrecondition, "no_host", notExecuted, "the attempt was not made by a host")}
	}
	return a.host.Actors(a.Namespace)
}

// Actors returns what makes clients of the host's actors, for the program that runs
// it. The calls have no subject and are internal: no credential is asked for.
func (h *Host) Actors(namespace string) Handles {
	handles := Handles{host: h, namespace: namespace}
	if err := wire.CheckNamespace(namespace); err != nil {
		handles.err = refusal(connect.CodeInvalidArgument, "bad_namespace", notExecuted, "%s", err)
	}
	return handles
}

// GetOrCreate binds the actor with this key, which a first call creates. No segments
// name the empty key of a singleton. A key that breaks a limit makes every call fail
// with invalid_argument; that is so for all methods that bind.
func (h Handles) GetOrCreate(key ...string) *connect.Client { return h.Bind(Peer{Key: key}) }

// Get binds the actor with this key. Calls fail with not_found while there is none.
func (h Handles) Get(key ...string) *connect.Client { return h.Bind(Peer{Key: key, Resolve: Get}) }

// Create binds the actor with this key. A call creates it, and fails with
// already_exists if it is there.
func (h Handles) Create(key ...string) *connect.Client {
	return h.Bind(Peer{Key: key, Resolve: Create})
}

// ForID binds one incarnation of an actor. Calls fail with not_found once it is
// destroyed, whoever has its key then.
func (h Handles) ForID(id string) *connect.Client { return h.Bind(Peer{ID: id}) }

// Bind binds an actor with everything that a call can say about it. The messages are
// encoded now: later changes to them have no effect.
func (h Handles) Bind(peer Peer) *connect.Client {
	d := &direct{handles: h}
	if d.err = h.err; d.err == nil {
		d.template, d.err = peer.call(h.namespace)
	}
	d.template.Internal, d.template.Codec = true, binaryCodec{}
	if h.from != nil {
		d.template.Subject = subjectOf(h.from.addr)
	}
	return connect.NewClient(d)
}

// subjectOf is whom a called actor sees.
func subjectOf(addr store.Address) string { return wire.SubjectOfActors + addr.Type + "/" + addr.Key }

// call makes a call of a peer, which lacks its method.
func (p Peer) call(namespace string) (Call, error) {
	call := Call{Target: Target{Address: store.Address{Namespace: namespace}, Resolve: p.Resolve}}
	bad := func(reason, format string, args ...any) (Call, error) {
		return Call{}, refusal(connect.CodeInvalidArgument, reason, notExecuted, format, args...)
	}
	var err error
	if p.ID != "" {
		if len(p.Key) > 0 || p.Resolve != GetOrCreate || p.Input != nil {
			return bad("address_conflict", "an address by id takes neither a key nor resolve nor input")
		}
		if call.ID, err = store.ParseID(p.ID); err != nil {
			return bad("bad_actor_id", "%s", err)
		}
		call.Resolve = Get
	} else if call.Address.Key, err = wire.EncodeKey(p.Key); err != nil {
		return bad("bad_actor_key", "%s", err)
	}
	if call.Input, err = encodePart(p.Input); err != nil {
		return bad("bad_actor_input", "%s", err)
	}
	if call.Params, err = encodePart(p.Params); err != nil {
		return bad("bad_actor_params", "%s", err)
	}
	return call, nil
}

// encodePart encodes a message that may be missing; nil if it is.
func encodePart(message proto.Message) ([]byte, error) {
	if message == nil {
		return nil, nil
	}
	return proto.MarshalOptions{}.MarshalAppend([]byte{}, message)
}

// binaryCodec encodes the replies of calls in the process.
type binaryCodec struct{}

// Name implements [Codec].
func (binaryCodec) Name() string { return "proto" }

// Append implements [Codec].
func (binaryCodec) Append(dst []byte, message proto.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(dst, message)
}

// traceHeaders are the metadata that a call passes on from the call that its caller
// serves.
var traceHeaders = []string{"Traceparent", "Tracestate", "Baggage"}

// passOn makes the metadata of a call: what its caller set, less what addresses an
// actor, and the trace of the call that the caller serves.
func passOn(ctx context.Context, to *connect.Header) {
	if info, ok := connect.CallInfoForClientContext(ctx); ok {
		for name, values := range info.RequestHeader().All() {
			if !strings.HasPrefix(name, "Actor-") {
				to.SetValues(name, slices.Clone(values))
			}
		}
	}
	passOnTrace(ctx, to)
}

// passOnTrace adds the trace of the call that ctx serves, unless there is one already.
func passOnTrace(ctx context.Context, to *connect.Header) {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return
	}
	for _, name := range traceHeaders {
		if values := info.RequestHeader().Values(name); len(values) > 0 && !to.Has(name) {
			to.SetValues(name, slices.Clone(values))
		}
	}
}

// copyMessage makes dst what src is, so that they share nothing.
func copyMessage(dst proto.Message, src any) error {
	message, ok := src.(proto.Message)
	if !ok {
		return fmt.Errorf("a request is a message, and not %T", src)
	}
	if message.ProtoReflect().Type() == dst.ProtoReflect().Type() {
		proto.Merge(dst, message)
		return nil
	}
	if got, want := message.ProtoReflect().Descriptor().FullName(), dst.ProtoReflect().Descriptor().FullName(); got != want {
		return fmt.Errorf("the request is a %s and the method takes a %s", got, want)
	}
	encoded, err := proto.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	return proto.Unmarshal(encoded, dst)
}
