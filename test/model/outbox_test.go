// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"pgregory.net/rapid"
)

func TestP25_MessagesTakeEffectOnceAndInOrder(t *testing.T) {
	t.Parallel()
	check(t, map[string]func(*world, *rapid.T){
		"send": (*world).send, "send again": (*world).send, "subscribe": (*world).subscribe, "resume": (*world).resume,
		"sleep": (*world).sleep, "destroy": (*world).destroy, "crash": (*world).crash, "stop": (*world).stop, "repeat": (*world).repeat,
	})
}

// message is what an actor has sent: the receiver adds an amount and publishes that.
// The first attempt has a fate; of the others, none goes wrong.
type message struct {
	to     string
	amount int64
	flaky  bool // the receiver fails first
	fate   fate // of the receiver's commit
}

// send is a turn that sends messages, with a commit of random fate. They go to one
// receiver, which may be the sender or absent: then it is known whose commit meets
// which fate.
func (w *world) send(r *rapid.T) {
	key, to := someKey.Draw(r, "key"), someKey.Draw(r, "to")
	kinds := []func(*rapid.T) step{w.sendStep(to), w.sendStep(to), w.sendStep(to), addStep, publishStep, putStep, destroyStep}
	some := rapid.Custom(func(r *rapid.T) step { return kinds[rapid.IntRange(0, len(kinds)-1).Draw(r, "kind")](r) })
	plan := rapid.SliceOfN(some, 1, 6).Draw(r, "steps")
	end := rapid.SampledFrom([]ending{returns, returns, returns, fails, panics, ignores}).Draw(r, "ending")
	w.do(r, key, "", plan, end, someFate.Draw(r, "fate"))
}

// sendStep sends a message.
func (w *world) sendStep(to string) func(r *rapid.T) step {
	return func(r *rapid.T) step {
		m := message{to: to, amount: rapid.Int64Range(1, 9).Draw(r, "amount"), flaky: rapid.IntRange(0, 4).Draw(r, "flaky") == 0, fate: well}
		if !m.flaky {
			m.fate = someFate.Draw(r, "fate of the receipt")
		}
		return step{
			name: fmt.Sprintf("send %+v", m),
			real: func(_ context.Context, s *subject) error {
				return s.Outbox().Send(actors.Peer{Key: segments(to)}, counterv1connect.CounterIncrementProcedure,
					&counterv1.IncrementRequest{Amount: s.scripts.put(w.receipt(m))})
			},
			model: func(a *actor) {
				a.writes++
				a.courted = true
				a.sent = append(a.sent, m)
			},
		}
	}
}

// receipt is the receiver's turn.
func (w *world) receipt(m message) script {
	var attempts atomic.Int64
	return func(ctx context.Context, s *subject) error {
		s.State().Count += m.amount
		if err := publishStep(nil).real(ctx, s); err != nil || attempts.Add(1) > 1 {
			return err
		}
		if m.flaky {
			return errors.New("the first attempt fails as it was told")
		}
		pass(time.Millisecond) // until nothing else is on its way to the disk or to a stream
		w.arm(m.fate)
		return nil
	}
}

// outboxLost is the answer of a turn that sends and destroys.
var outboxLost = answer{connect.CodeFailedPrecondition, notExecuted, "outbox_lost"}

// deliver lets what was sent arrive.
func (w *world) deliver() {
	for _, key := range []string{"", "a", "b"} {
		a := w.model.actors[key]
		if a == nil || len(a.sent) == 0 {
			continue
		}
		sent := slices.Clone(a.sent)
		a.sent = nil
		pass(time.Duration(len(sent)+1) * lateness)
		synctest.Wait()
		for _, m := range sent {
			w.publish(m.to, nil, m.fate, false)
			w.expect(m.to, w.advance(m.to, []step{{model: func(a *actor) {
				a.count += m.amount
				a.events = append(a.events, a.publish())
			}}}))
		}
	}
}
