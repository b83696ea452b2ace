// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/actorstest"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/server"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

// TestMain sets how many random histories each test runs: TROUPE_MODEL_CHECKS, or 4.
func TestMain(m *testing.M) {
	checks := "4"
	if text := os.Getenv("TROUPE_MODEL_CHECKS"); text != "" {
		checks = text
	}
	if err := flag.Set("rapid.checks", checks); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const (
	sleepAfter    = 30 * time.Second
	actionTimeout = 5 * time.Second
	retained      = 5 // events that can be replayed
)

// world is a server and the model that it is compared with. It lives in a bubble of
// testing/synctest; between two actions nothing of the server is under way.
type world struct {
	*actorstest.Server

	client  *troupe.Client // calls once
	model   *model
	scripts *scripts
	depth   int
	streams []*stream
	keys    int // idempotency keys that were used

	generation string // of the store, as cursors have it; empty until one has been seen
}

// setting is where the actors live and how far they run ahead.
type setting struct {
	name  string
	depth int
	store []actorstest.Option
}

// settings are what every model test runs with: each store driver, with turns that
// run as far ahead of the disk as they do by default, little, and not at all. All of
// them have the store fail: see package actorstest.
var settings = []setting{
	{name: "memory", depth: 64},
	{name: "memory, depth 1", depth: 1},
	{name: "embedded", depth: 64, store: []actorstest.Option{actorstest.Embedded()}},
	{name: "embedded, depth 2", depth: 2, store: []actorstest.Option{actorstest.Embedded()}},
}

// check runs random histories of some actions, which are methods of world.
func check(t *testing.T, actions map[string]func(*world, *rapid.T)) {
	for _, with := range settings {
		t.Run(with.name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(r *rapid.T) {
				var failure any
				synctest.Test(t, func(t *testing.T) {
					defer func() { failure = recover() }() // how rapid ends a history
					run(t, r, with, actions)
				})
				switch fmt.Sprintf("%T", failure) { // rapid tells failures apart by their lines
				case "<nil>":
				case "rapid.invalidData":
					panic(failure)
				default:
					panic(failure)
				}
			})
		})
	}
}

// run is one history.
func run(t *testing.T, r *rapid.T, with setting, actions map[string]func(*world, *rapid.T)) {
	w := &world{model: newModel(), scripts: &scripts{byCall: make(map[int64]script)}, depth: with.depth}
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *subject { return &subject{scripts: w.scripts} },
		actors.SleepAfter(sleepAfter), actors.ActionTimeout(actionTimeout), actors.MaxUndurableTurns(with.depth),
		actors.RetainEvents(actors.EventWindow{Count: retained, Age: 24 * time.Hour}))
	w.Server = actorstest.New(t, registry, append([]actorstest.Option{actorstest.Configure(quiet)}, with.store...)...)
	defer w.Close()
	defer w.hangUp()
	w.client = w.Dial(troupe.WithoutRetries())
	machine := map[string]func(*rapid.T){"": w.compare}
	for name, action := range actions {
		machine[name] = func(r *rapid.T) {
			action(w, r)
			synctest.Wait()
			w.settle()
		}
	}
	r.Repeat(machine)
}

func quiet(cfg *server.Config) { cfg.Logger = slog.New(slog.DiscardHandler) }

var someKey = rapid.SampledFrom([]string{"", "a", "b"})

// counter is a client of the actor with a key.
func (w *world) counter(key string, resolve troupe.Resolve) counterv1connect.CounterClient {
	return counterv1connect.NewCounterClient(w.client.Bind(troupe.Address{Key: segments(key), Resolve: resolve}))
}

func segments(key string) []string {
	if key == "" {
		return nil
	}
	return []string{key}
}

// answer is what a caller can tell of how a call ended.
type answer struct {
	code    connect.Code
	outcome troupev1.Outcome_Outcome
	reason  string // not compared if empty
}

const (
	notExecuted = troupev1.Outcome_OUTCOME_NOT_EXECUTED
	committed   = troupev1.Outcome_OUTCOME_COMMITTED
	unknown     = troupev1.Outcome_OUTCOME_UNKNOWN
)

var (
	good      = answer{code: 0, outcome: committed}
	absent    = answer{connect.CodeNotFound, notExecuted, "actor_not_found"}
	present   = answer{connect.CodeAlreadyExists, notExecuted, "actor_exists"}
	discarded = answer{connect.CodeAborted, notExecuted, "turn_discarded"}
	uncertain = answer{connect.CodeUnavailable, unknown, "outcome_unknown"}
	cut       = answer{connect.CodeUnavailable, unknown, ""}
)

func (a answer) String() string { return fmt.Sprintf("%v %v %s", a.code, a.outcome, a.reason) }

func answerOf(err error) answer {
	if err == nil {
		return good
	}
	return answer{connect.CodeOf(err), troupe.OutcomeOf(err), troupe.Reason(err)}
}

func (a answer) matches(want answer) bool {
	if want.reason == "" {
		a.reason = ""
	}
	return a == want
}

// want fails the history unless a call ended as the model says.
func want(r *rapid.T, what string, err error, want answer) {
	if got := answerOf(err); !got.matches(want) {
		r.Fatalf("%s: %v (%v), want %v", what, got, err, want)
	}
}

// compare reads every actor and every stream and compares them with the model.
func (w *world) compare(r *rapid.T) {
	for _, key := range []string{"", "a", "b"} {
		w.compareActor(r, key)
	}
	for _, id := range w.model.dead[max(0, len(w.model.dead)-2):] {
		_, err := counterv1connect.NewCounterClient(w.client.ForID(id)).Get(context.Background(), &counterv1.GetRequest{})
		want(r, "a read of the dead incarnation "+id, err, absent)
	}
	synctest.Wait()
	for _, s := range w.streams {
		s.compare(r)
	}
	w.streams = slices.DeleteFunc(w.streams, func(s *stream) bool { return s.ended })
}

func (w *world) compareActor(r *rapid.T, key string) {
	what := fmt.Sprintf("a read of %q", key)
	ctx, info := connect.NewClientContext(context.Background())
	reply, err := w.counter(key, troupe.Get).Get(ctx, &counterv1.GetRequest{})
	a := w.model.actors[key]
	if a == nil {
		want(r, what, err, absent)
		return
	}
	want(r, what, err, good)
	id := info.ResponseHeader().Get("actor-id")
	if a.id == "" {
		a.id = id
	}
	if id != a.id {
		r.Fatalf("%s: the incarnation is %s, want %s", what, id, a.id)
	}
	if reply.GetCount() != a.count {
		r.Fatalf("%s: the count is %d, want %d", what, reply.GetCount(), a.count)
	}
	if got := w.scripts.saw(); !maps.Equal(got, a.kv) {
		r.Fatalf("%s: the pairs are %v, want %v", what, got, a.kv)
	}
	cursor := info.ResponseHeader().Get("actor-cursor")
	if w.generation == "" {
		_, rest, _ := strings.Cut(cursor, "-")
		w.generation, _, _ = strings.Cut(rest, "-")
	}
	if want := w.cursor(id, a.head); cursor != want {
		r.Fatalf("%s: the cursor is %s, want %s", what, cursor, want)
	}
	described, err := w.client.Actors().Get(context.Background(), &troupev1.GetRequest{Address: w.client.Address(counterv1connect.CounterName, segments(key)...)})
	want(r, what, err, good)
	if got := described.GetActor().GetRevision(); got != a.revision && !a.courted {
		r.Fatalf("%s: the revision is %d, want %d", what, got, a.revision)
	}
}

// cursor is the text of a cursor, which clients must not know.
func (w *world) cursor(id string, head uint64) string {
	return id + "-" + w.generation + "-" + strconv.FormatUint(head, 36)
}
