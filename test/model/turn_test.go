// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"pgregory.net/rapid"
)

func TestP8_ATurnTakesEffectAsAWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	check(t, map[string]func(*world, *rapid.T){
		"turn": (*world).turn, "turn again": (*world).turn, "subscribe": (*world).subscribe, "unsubscribe": (*world).unsubscribe,
		"ahead": (*world).ahead, "sleep": (*world).sleep, "destroy": (*world).destroy, "unreadable": (*world).unreadable,
		"crash": (*world).crash, "stop": (*world).stop, "repeat": (*world).repeat,
	})
}

func TestP9_AFailedTurnLeavesMemoryAsItWas(t *testing.T) {
	t.Parallel()
	check(t, map[string]func(*world, *rapid.T){
		"turn":      func(w *world, r *rapid.T) { w.turnThat(r, someEnding.Draw(r, "ending"), well) },
		"fail":      func(w *world, r *rapid.T) { w.turnThat(r, someFailure.Draw(r, "ending"), well) },
		"subscribe": (*world).subscribe,
	})
}

// step is one thing that a turn does: to the actor, and to the model of it.
type step struct {
	name  string
	real  func(ctx context.Context, s *subject) error
	model func(a *actor)
}

// steps are the generators of steps; the weight of one is how often it is listed.
var steps = []func(r *rapid.T) step{
	addStep, publishStep, addStep, publishStep, destroyStep, putStep, putStep, deleteStep, listStep, listStep, scheduleStep, workStep,
}

var someStep = rapid.Custom(func(r *rapid.T) step { return steps[rapid.IntRange(0, len(steps)-1).Draw(r, "kind")](r) })

func addStep(r *rapid.T) step {
	amount := rapid.Int64Range(-3, 3).Draw(r, "amount")
	return step{
		name:  fmt.Sprintf("add %d", amount),
		real:  func(_ context.Context, s *subject) error { s.State().Count += amount; return nil },
		model: func(a *actor) { a.count += amount },
	}
}

func publishStep(*rapid.T) step {
	return step{
		name: "publish",
		real: func(_ context.Context, s *subject) error {
			s.Broadcast(&counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{
				CountChanged: &counterv1.CountChanged{Count: s.State().GetCount()},
			}})
			return nil
		},
		model: func(a *actor) { a.events = append(a.events, a.publish()) },
	}
}

func destroyStep(r *rapid.T) step {
	if rapid.IntRange(0, 3).Draw(r, "destroy") > 0 { // rarely
		return addStep(r)
	}
	return step{
		name:  "destroy",
		real:  func(_ context.Context, s *subject) error { s.Destroy(); return nil },
		model: func(a *actor) { a.destroyed = true },
	}
}

// ending is how the code of a turn ends.
type ending string

const (
	returns ending = "returns"
	fails   ending = "fails"  // with an error for callers
	breaks  ending = "breaks" // with another error
	panics  ending = "panics"
	hangs   ending = "hangs"   // until its time is over
	ignores ending = "ignores" // as hangs, and then returns well
)

var (
	someFailure = rapid.SampledFrom([]ending{fails, breaks, panics, hangs, ignores})
	someEnding  = rapid.OneOf(rapid.Just(returns), rapid.Just(returns), someFailure)
)

func (e ending) run(ctx context.Context) error {
	switch e {
	case fails:
		return actors.Errorf(connect.CodeFailedPrecondition, "as_told", "it fails as it was told")
	case breaks:
		return errors.New("it breaks as it was told")
	case panics:
		panic("it panics as it was told")
	case hangs:
		<-ctx.Done()
		return ctx.Err()
	case ignores:
		<-ctx.Done()
	}
	return nil
}

// answer is what the caller hears if nothing else goes wrong.
func (e ending) answer() answer {
	switch e {
	case fails:
		return answer{connect.CodeFailedPrecondition, notExecuted, "as_told"}
	case breaks, panics:
		return answer{connect.CodeInternal, notExecuted, "internal"}
	case hangs, ignores:
		return answer{connect.CodeDeadlineExceeded, notExecuted, "deadline_exceeded"}
	}
	return good
}

// fate is what becomes of a commit.
type fate string

const (
	well        fate = "goes well"
	fail        fate = "fails"
	lostBefore  fate = "is lost"            // nobody knows, and it is not stored
	lostAfter   fate = "is lost and stored" // nobody knows
	crashBefore fate = "never begins: the server crashes"
	crashAfter  fate = "is stored: the server crashes"
)

var someFate = rapid.OneOf(rapid.Just(well), rapid.Just(well), rapid.SampledFrom([]fate{fail, lostBefore, lostAfter, crashBefore, crashAfter}))

// arm makes the next commit have the fate.
func (w *world) arm(f fate) {
	switch f {
	case fail:
		w.FailNextCommit(nil)
	case lostBefore:
		w.FailNextCommit(store.ErrUnknown)
	case lostAfter:
		w.LoseNextCommit()
	case crashBefore:
		w.CrashBeforeCommit()
	case crashAfter:
		w.CrashAfterCommit()
	}
}

func (f fate) stored() bool  { return f == well || f == lostAfter || f == crashAfter }
func (f fate) crashes() bool { return f == crashBefore || f == crashAfter }

// answer is what those hear who wait for the commit.
func (f fate) answer() answer {
	switch f {
	case fail:
		return discarded
	case lostBefore, lostAfter:
		return uncertain
	case crashBefore, crashAfter:
		return cut
	}
	return good
}

// turn is a turn of random steps, with a random ending and a commit of random fate.
func (w *world) turn(r *rapid.T) {
	w.turnThat(r, someEnding.Draw(r, "ending"), someFate.Draw(r, "fate"))
}

func (w *world) turnThat(r *rapid.T, end ending, f fate) {
	key := someKey.Draw(r, "key")
	resolve := rapid.SampledFrom([]troupe.Resolve{troupe.GetOrCreate, troupe.GetOrCreate, troupe.GetOrCreate, troupe.Get, troupe.Create}).Draw(r, "resolve")
	plan := rapid.SliceOfN(someStep, 0, 4).Draw(r, "steps")
	w.do(r, key, resolve, plan, end, f)
}

// do makes a turn, for real and in the model.
func (w *world) do(r *rapid.T, key string, resolve troupe.Resolve, plan []step, end ending, f fate) {
	before := w.model.actors[key]
	expect := end.answer()
	switch {
	case before == nil && resolve == troupe.Get:
		want(r, "a turn of nobody", w.call(key, resolve, plan, end), absent)
		return
	case before != nil && resolve == troupe.Create:
		want(r, "the creation of what is there", w.call(key, resolve, plan, end), present)
		return
	}
	created := before == nil
	before = w.model.begin(key)
	after := before.clone()
	for _, s := range plan {
		s.model(after)
	}
	changed := end == returns && after.changed(before)
	if end == returns && after.destroyed && len(after.sent) > 0 {
		expect, changed = outboxLost, false
	}
	if end == hangs || end == ignores || created && changed && after.destroyed {
		f = well // its caller does not wait for the commit, or there is none
	}
	if created || changed {
		w.arm(f)
	} else {
		f = well
	}
	if f != well {
		expect = f.answer()
	}
	want(r, fmt.Sprintf("a turn of %q with %v that %s and whose commit %s", key, names(plan), end, f), w.call(key, resolve, plan, end), expect)

	var events []event
	if f.stored() {
		if created {
			w.model.commit(key, before)
		}
		if changed {
			after.revision++
			events = w.model.commit(key, after)
		}
	}
	w.publish(key, events, f, changed && after.destroyed)
	if end == returns && expect == good {
		w.work(key, after)
	}
}

// publish says what the streams of an actor get to see of a commit.
func (w *world) publish(key string, events []event, f fate, destroyed bool) {
	switch {
	case f.crashes():
		w.endStreams(troupev1Unspecified)
	case f == lostBefore, f == lostAfter:
		w.endStreamsOf(key, troupev1Unspecified)
	case f == well:
		w.expect(key, events)
		if destroyed {
			w.endStreamsOf(key, troupev1Destroyed)
		}
	}
}

func (w *world) call(key string, resolve troupe.Resolve, plan []step, end ending) error {
	n := w.scripts.put(func(ctx context.Context, s *subject) error {
		if err := perform(ctx, s, plan); err != nil {
			return err
		}
		return end.run(ctx)
	})
	_, err := w.counter(key, resolve).Increment(context.Background(), &counterv1.IncrementRequest{Amount: n})
	return err
}

// perform does what a plan says.
func perform(ctx context.Context, s *subject, plan []step) error {
	for _, step := range plan {
		if err := step.real(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// String is for rapid, which shows what it drew.
func (s step) String() string { return s.name }

func names(plan []step) (all []string) {
	for _, s := range plan {
		all = append(all, s.name)
	}
	return all
}

func TestP17_ARepeatedRequestHasOneEffect(t *testing.T) {
	t.Parallel()
	check(t, map[string]func(*world, *rapid.T){
		"repeat": (*world).repeat, "turn": (*world).turn, "sleep": (*world).sleep, "subscribe": (*world).subscribe,
	})
}
