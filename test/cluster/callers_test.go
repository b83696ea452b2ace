// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"connectrpc.com/connect/v2"
	troupe "github.com/troupe-dev/troupe/clients/go"
	registerv1 "github.com/troupe-dev/troupe/gen/go/register/v1"
	"github.com/troupe-dev/troupe/gen/go/register/v1/registerv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/test/history"
)

// How callers behave.
const (
	callTimeout   = 4 * time.Second
	briefTimeout  = 40 * time.Millisecond // of some calls, which are often not answered in time
	repeatTimeout = 30 * time.Second      // for a call and its repetitions under one idempotency key
	laterMost     = 3 * time.Second
)

// caller calls registers, one operation after the other.
type caller struct {
	site   *site
	record *history.Recorder
	number int
	random *rand.Rand
	seen   map[string]int64 // by register: the newest value that it knows of
}

func newCaller(s *site, record *history.Recorder, number int, seed uint64) *caller {
	return &caller{site: s, record: record, number: number, random: rand.New(rand.NewPCG(seed, uint64(number))), seen: make(map[string]int64)}
}

// work calls until ctx ends. Its last call ends by itself.
func (c *caller) work(ctx context.Context, keys []string) {
	for ctx.Err() == nil {
		o := c.one(keys[c.random.IntN(len(keys))])
		rest := time.Duration(c.random.Int64N(int64(30 * time.Millisecond)))
		if o.Outcome != history.Done {
			rest += 50 * time.Millisecond
		}
		c.site.pause(rest)
	}
}

// one makes one operation on a register.
func (c *caller) one(key string) history.Operation {
	o := history.Operation{Client: c.number, Register: key}
	keyed := false
	switch draw := c.random.IntN(100); {
	case draw < 35:
		o.Kind = history.Read
	case draw < 55:
		o.Kind = history.Write
	case draw < 75:
		o.Kind = history.Swap
	case draw < 85:
		o.Kind, keyed = history.Write, true
	case draw < 93:
		o.Kind, keyed = history.Swap, true
	default:
		o.Kind = history.Later
	}
	if o.Kind == history.Swap {
		o.Expected = c.seen[key]
	}
	timeout := callTimeout
	if c.random.IntN(8) == 0 {
		timeout = briefTimeout
	}
	o = c.record.Begin(o)
	later := time.Duration(c.random.Int64N(int64(laterMost)))
	if keyed {
		o = c.insist(o, timeout)
	} else {
		o = c.try(c.random.IntN(siteNodes), o, "", timeout, later)
	}
	c.record.End(o)
	switch {
	case o.Outcome != history.Done:
	case o.Kind == history.Read, o.Kind == history.Swap && !o.Swapped:
		c.seen[key] = o.Previous
	case o.Kind == history.Write, o.Kind == history.Swap:
		c.seen[key] = o.Value
	}
	return o
}

// insist makes an operation under an idempotency key, and repeats it at other nodes
// until it is known what became of it, sometimes at two at once.
func (c *caller) insist(o history.Operation, timeout time.Duration) history.Operation {
	key := fmt.Sprintf("operation-%d", o.Value)
	until := time.Now().Add(repeatTimeout)
	var result history.Operation
	doubt := false
	for {
		node := c.random.IntN(siteNodes)
		both := c.random.IntN(4) == 0
		twin := make(chan history.Operation, 1)
		if both {
			go func() { twin <- c.try((node+1)%siteNodes, o, key, timeout, 0) }()
		}
		result = c.try(node, o, key, timeout, 0)
		if both {
			other := <-twin
			if result.Outcome == history.Done && other.Outcome == history.Done && result != other {
				c.site.t.Errorf("the same request has got two answers:\n\t%s\n\t%s", result, other)
			}
			doubt = doubt || other.Outcome == history.Unknown
			if result.Outcome != history.Done {
				result = other
			}
		}
		doubt = doubt || result.Outcome == history.Unknown
		if result.Outcome == history.Done || time.Now().After(until) || c.site.t.Context().Err() != nil {
			break
		}
		c.site.pause(100 * time.Millisecond)
	}
	if doubt && result.Outcome == history.NotDone {
		result.Outcome = history.Unknown
	}
	return result
}

// try makes one attempt at a node, and returns the operation with what it knows then.
func (c *caller) try(node int, o history.Operation, key string, timeout, later time.Duration) history.Operation {
	ctx, cancel := context.WithTimeout(c.site.t.Context(), timeout)
	defer cancel()
	ctx, info := connect.NewClientContext(ctx)
	if key != "" {
		info.RequestHeader().Set("idempotency-key", key)
	}
	err := ask(ctx, c.site.registers(node, o.Register), &o, later)
	switch {
	case err == nil:
		o.Outcome = history.Done
		return o
	case troupe.OutcomeOf(err) == troupev1.Outcome_OUTCOME_NOT_EXECUTED:
		o.Outcome = history.NotDone
	default:
		o.Outcome = history.Unknown
	}
	o.Error = err.Error()
	if unexpected(err) {
		c.site.t.Errorf("node %d: %s", node, o)
	}
	return o
}

// ask makes a request, and puts its answer into the operation.
func ask(ctx context.Context, register registerv1connect.RegisterClient, o *history.Operation, later time.Duration) error {
	switch o.Kind {
	case history.Read:
		reply, err := register.Read(ctx, new(registerv1.ReadRequest))
		o.Previous, o.Version = reply.GetValue(), reply.GetVersion()
		return err
	case history.Write:
		reply, err := register.Write(ctx, &registerv1.WriteRequest{Value: o.Value})
		o.Previous, o.Version = reply.GetPrevious(), reply.GetVersion()
		return err
	case history.Swap:
		reply, err := register.Swap(ctx, &registerv1.SwapRequest{Value: o.Value, Expected: o.Expected})
		o.Previous, o.Version, o.Swapped = reply.GetPrevious(), reply.GetVersion(), reply.GetSwapped()
		return err
	case history.Later:
		_, err := register.Later(ctx, &registerv1.LaterRequest{Value: o.Value, Milliseconds: int32(later.Milliseconds())})
		return err
	}
	return fmt.Errorf("no such operation: %d", o.Kind)
}

// unexpected reports whether an error of a server is not one that faults of machines
// explain.
func unexpected(err error) bool {
	wire, ok := errors.AsType[*connect.Error](err)
	if !ok || !wire.IsRemote() {
		return false
	}
	switch wire.Code() {
	case connect.CodeUnavailable, connect.CodeAborted, connect.CodeDeadlineExceeded, connect.CodeCanceled, connect.CodeResourceExhausted:
		return false
	}
	return true
}

// follow follows a register until ctx ends.
func follow(ctx context.Context, s *site, url, key string, stream *history.Stream) {
	client := troupe.Dial(url)
	defer client.Close()
	register := registerv1connect.NewRegisterClient(client.GetOrCreate(key))
	for event, err := range troupe.Events(ctx, register.Follow, new(registerv1.FollowRequest), troupe.WithControlFrames()) {
		opened := event.GetInfo().GetOpened()
		switch {
		case errors.Is(err, troupe.ErrGap):
			stream.Gap()
		case err != nil:
			if ctx.Err() == nil {
				s.t.Errorf("%s: the subscription has ended: %v", stream.Name, err)
			}
			return
		case opened != nil && !opened.GetResumed():
			stream.Begins(int64(event.GetInfo().GetHead())) // each version is one event
		case event.GetWritten() != nil:
			stream.Saw(event.GetWritten().GetValue(), event.GetWritten().GetVersion())
		}
	}
}
