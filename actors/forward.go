// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/store"
	"google.golang.org/protobuf/proto"
)

// Forwarder carries calls to the nodes that run their actors. Its methods may be
// called concurrently. At the other node [Host.CallForwarded] or [Host.Follow] runs
// the call.
//
// An error is a *[connect.Error] with its details as that host made them. Of what
// went wrong on the way, the details say whether the call may have been run: one that
// never left has the reason node_unreachable and the outcome NOT_EXECUTED.
type Forwarder interface {
	// Call runs an action; the reply's body is in binary.
	Call(ctx context.Context, node placement.Node, call *Call) (Reply, error)
	// Follow runs a subscription or a streaming action: opened hears who has
	// answered, send each message, in binary. Both are called from the goroutine
	// of the caller, and their errors end the stream.
	Follow(ctx context.Context, node placement.Node, call *Call, opened func(*Reply) error, send func(message []byte) error) error
}

// Postmark says which message of an outbox a call delivers, so that its receiver
// takes it once.
type Postmark struct {
	// Sender is the incarnation that has sent the message.
	Sender store.ID
	// Number is that of the message among those of its sender.
	Number uint64
	// FormerNumbers are those under which it has been dead, if it is tried again.
	FormerNumbers []uint64
	// PassedOver is the numbers before it that went into the dead list. The receiver
	// has not taken them, unless it is past them.
	PassedOver []uint64
}

// reasonUnreachable is the reason of a call that could not be sent to the node that
// runs its actor.
const reasonUnreachable = "node_unreachable"

// elsewhere reports whether a call is one that another node should run.
func (h *Host) elsewhere(call *Call) bool {
	return h.forward != nil && !call.Forwarded && !h.takes(call)
}

// run runs a call, here or at the node that holds its actor.
func (h *Host) run(ctx context.Context, call *Call) (Reply, error) {
	if !h.elsewhere(call) {
		t, err := h.call(ctx, call)
		if err == nil {
			return t.reply, nil
		}
		if err != errNotOwner || h.forward == nil || call.Forwarded { //nolint:errorlint // our own, never wrapped
			return Reply{}, err
		}
	}
	var reply Reply
	err := h.reach(ctx, call, func() error {
		t, err := h.call(ctx, call)
		if err == nil {
			reply = t.reply
		}
		return err
	}, func(node placement.Node) (err error) {
		if reply, err = h.forward.Call(ctx, node, call); err == nil {
			reply.Body, err = call.recode(reply.Body)
		}
		return err
	})
	return reply, err
}

// reach tries a call where its actor is held, here or at another node, and follows
// the actor's shard over a change of holders.
func (h *Host) reach(ctx context.Context, call *Call, here func() error, there func(placement.Node) error) error {
	search := placement.Search{Placement: h.holding.placement, Shard: h.ShardOf(&call.Target)}
	for {
		err := errNotOwner
		if h.takes(call) {
			err = here()
		} else if node, ok := search.Elsewhere(); ok {
			err = passedOn(there(node))
		}
		if !misrouted(err) || !search.Again(ctx) {
			return err
		}
	}
}

// passedOn makes an error that another node has answered with one of this host's
// own, which passes to the caller as it is.
func passedOn(err error) error {
	from, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err
	}
	wire := connect.NewError(from.Code(), from.Message()).WithCause(err)
	for _, detail := range from.Details() {
		wire = wire.WithDetail(detail)
	}
	return &refusalError{wire}
}

// misrouted reports whether a call was refused because it came to the wrong node, or
// could not be sent to the right one: nothing of it has run.
func misrouted(err error) bool {
	if err == errNotOwner { //nolint:errorlint // our own, never wrapped
		return true
	}
	refused, ok := errors.AsType[*refusalError](err)
	if !ok || refused.wire.Code() != connect.CodeUnavailable {
		return false
	}
	info := errorInfo(refused.wire)
	return info.GetDomain() == runtimeDomain && (info.GetReason() == reasonNotOwner || info.GetReason() == reasonUnreachable)
}

// recode encodes a reply that came in binary as the call wants it.
func (c *Call) recode(body []byte) ([]byte, error) {
	if c.Codec == nil || c.Codec.Name() == connect.CodecNameProto {
		return body, nil
	}
	reply := newMessage(c.Method.output)
	if err := proto.Unmarshal(body, reply); err != nil {
		return nil, refusal(connect.CodeInternal, "bad_response", unknown, "the reply is not a %s", c.Method.output.Descriptor().FullName()).WithCause(err)
	}
	return c.Codec.Append(nil, reply)
}

// CallForwarded is [Host.Call] for a call that another node's host has passed on, by
// its [Forwarder]. If the actor is not held here either, it is refused.
func (h *Host) CallForwarded(ctx context.Context, call *Call) (reply Reply, err error) {
	call.Forwarded = true
	err = inContextOf(ctx, call, func(ctx context.Context) error {
		reply, err = h.Call(ctx, call)
		return err
	})
	return reply, err
}

// Follow runs a subscription or a streaming action that another node's host has
// passed on, as its [Forwarder] says. The error is a *[connect.Error] or that of
// opened or send.
func (h *Host) Follow(ctx context.Context, call *Call, opened func(*Reply) error, send func(message []byte) error) error {
	call.Forwarded = true
	return inContextOf(ctx, call, func(ctx context.Context) error {
		if call.Method.Subscription {
			subscription, err := h.Subscribe(ctx, call)
			if err != nil {
				return err
			}
			defer subscription.Close()
			if err := opened(&subscription.Reply); err != nil {
				return err
			}
			return subscription.Feed(ctx, forwardedFrames{send})
		}
		action, err := h.Stream(ctx, call)
		if err != nil {
			return err
		}
		defer action.Close()
		if err := opened(&action.Reply); err != nil {
			return err
		}
		return action.Serve(ctx, forwardedMessages{send})
	})
}

// forwardedFrames passes the frames of a subscription on.
type forwardedFrames struct{ send func([]byte) error }

// Send implements [Sink].
func (f forwardedFrames) Send(frame *Frame, _ bool) error {
	encoded, err := frame.Encoded(binaryCodec{})
	if err != nil {
		return err
	}
	return f.send(encoded)
}

// forwardedMessages passes the messages of a streaming action on.
type forwardedMessages struct{ send func([]byte) error }

// SendHeaders implements [MessageSink]. The answer has been sent.
func (forwardedMessages) SendHeaders() error { return nil }

// Send implements [MessageSink].
func (f forwardedMessages) Send(message proto.Message) error {
	encoded, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	return f.send(encoded)
}

// NewFrame makes a frame of a message of a subscription, in binary, that another node
// has sent.
func NewFrame(m *Method, message []byte) *Frame {
	enveloped := append(make([]byte, envelopeBytes, envelopeBytes+len(message)), message...)
	putEnvelope(enveloped)
	return &Frame{enveloped: enveloped, union: m.output}
}
