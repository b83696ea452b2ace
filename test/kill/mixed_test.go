// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package kill_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"github.com/troupe-dev/troupe/test/program"
	"google.golang.org/protobuf/proto"
)

// load is one kind of caller. Its work runs until ctx ends or a call is not answered;
// check looks at a server that has just started, before anybody else calls it.
type load interface {
	work(ctx context.Context, s *program.Process)
	check(t *testing.T, s *program.Process)
}

// TestP8_AMixedLoadSurvivesKill9 has callers of every kind at work as the server is
// killed, again and again on one data directory. After each kill the store itself is
// read, and each kind of caller finds what it was told.
func TestP8_AMixedLoadSurvivesKill9(t *testing.T) {
	t.Parallel()
	server := program.Build(t, "github.com/troupe-dev/troupe/examples/counter")
	data := t.TempDir()
	var loads []load
	for n := range 4 {
		loads = append(loads, &keyed{actor: fmt.Sprintf("keyed/%d", n)}, &brief{actor: fmt.Sprintf("brief/%d", n)},
			&failing{actor: fmt.Sprintf("keyed/%d", n)}, &watcher{actor: fmt.Sprintf("keyed/%d", n), t: t})
	}
	for round := range rounds(t) {
		s := program.Start(t, server, data)
		for _, l := range loads {
			l.check(t, s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		for _, l := range loads {
			callers.Go(func() { l.work(ctx, s) })
		}
		select { // the load is the test; how long it lasts decides nothing
		case <-time.After(time.Duration(50+rand.IntN(200)) * time.Millisecond):
		case <-s.Exited:
			t.Error("the server ended by itself")
		}
		s.Kill()
		cancel()
		callers.Wait()
		readStore(t, data)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	total := int64(0)
	for _, l := range loads {
		if k, ok := l.(*keyed); ok {
			total += k.sent
		}
	}
	if total == 0 {
		t.Error("nothing was acknowledged in all the rounds")
	}
	t.Logf("%d requests with distinct keys had one effect each", total)
}

// readStore opens the store that a kill has left.
func readStore(t *testing.T, data string) {
	t.Helper()
	s, err := embedded.Open(data, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	records, err := s.List(t.Context(), store.ListQuery{Namespace: "default", Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		full, err := s.Load(t.Context(), r.Address)
		if err != nil {
			t.Fatal(err)
		}
		state := new(counterv1.CounterState)
		if err := proto.Unmarshal(full.State, state); err != nil {
			t.Fatal(err)
		}
		// The creation is the first revision, and each increment that took effect one more.
		if want := uint64(state.GetCount()) + 1; full.Revision != want {
			t.Errorf("%s has revision %d and the count %d", r.Key, full.Revision, state.GetCount())
		}
	}
}

// keyed increments with a fresh idempotency key each time, and sends what was not
// answered again after the restart: the count is the number of keys.
type keyed struct {
	actor     string
	sent      int64 // requests with distinct keys that were answered
	unsettled bool  // the next one was sent before and not answered
}

func (k *keyed) one(ctx context.Context, s *program.Process) error {
	reply, err := counterAt(s, k.actor, "idempotency-key", fmt.Sprintf("%s#%d", k.actor, k.sent)).
		Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
	if k.unsettled = err != nil; err != nil {
		return err
	}
	k.sent++
	if reply.GetCount() != k.sent {
		return fmt.Errorf("%s: request %d is answered with %d", k.actor, k.sent, reply.GetCount())
	}
	return nil
}

func (k *keyed) work(ctx context.Context, s *program.Process) {
	for ctx.Err() == nil && k.one(ctx, s) == nil { //nolint:revive // until it fails
	}
}

func (k *keyed) check(t *testing.T, s *program.Process) {
	t.Helper()
	if k.unsettled {
		if err := k.one(t.Context(), s); err != nil {
			t.Errorf("sent again: %v", err)
		}
	}
	reply, err := counterAt(s, k.actor).Get(t.Context(), new(counterv1.GetRequest))
	if err != nil || reply.GetCount() != k.sent {
		t.Errorf("%s: the count is %d, %v, after %d distinct requests", k.actor, reply.GetCount(), err, k.sent)
	}
}

// failing calls an action that changes the state and fails.
type failing struct{ actor string }

func (f *failing) work(ctx context.Context, s *program.Process) {
	for n := 0; ctx.Err() == nil; n++ {
		_, err := counterAt(s, f.actor).Fail(ctx, &counterv1.FailRequest{Amount: 1000})
		if connect.CodeOf(err) != connect.CodeFailedPrecondition {
			return
		}
	}
}

func (*failing) check(*testing.T, *program.Process) {}

// brief creates an actor and destroys it again.
type brief struct {
	actor string
	known bool   // whether what follows is known
	id    string // of the actor; empty if there is none
}

func (b *brief) work(ctx context.Context, s *program.Process) {
	for ctx.Err() == nil {
		b.known = false
		if b.id != "" {
			if _, err := lifecycle(s).Destroy(ctx, &troupev1.DestroyRequest{Address: &troupev1.Address{Id: b.id}}); err != nil {
				return
			}
			b.id = ""
		} else {
			if _, err := counterAt(s, b.actor).Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
				return
			}
			id, err := b.resolve(ctx, s)
			if err != nil {
				return
			}
			b.id = id
		}
		b.known = true
	}
}

// resolve returns the actor's id, empty if there is none.
func (b *brief) resolve(ctx context.Context, s *program.Process) (string, error) {
	reply, err := lifecycle(s).Resolve(ctx, &troupev1.ResolveRequest{
		Address: &troupev1.Address{Type: counterv1connect.CounterName, Key: strings.Split(b.actor, "/")},
	})
	if connect.CodeOf(err) == connect.CodeNotFound {
		return "", nil
	}
	return reply.GetId(), err
}

func (b *brief) check(t *testing.T, s *program.Process) {
	t.Helper()
	id, err := b.resolve(t.Context(), s)
	if err != nil || b.known && id != b.id {
		t.Errorf("%s has the id %q, %v, and was acknowledged with %q", b.actor, id, err, b.id)
	}
	b.id = id
}

// watcher follows an actor from where it was cut off. It never sees a repeat or a gap,
// and nothing that is not there after the kill.
type watcher struct {
	actor  string
	t      *testing.T
	cursor string
	last   atomic.Uint64 // the number of the newest event that it knows of
}

func (w *watcher) work(ctx context.Context, s *program.Process) {
	for ctx.Err() == nil {
		err := w.follow(ctx, s)
		if connect.CodeOf(err) != connect.CodeOutOfRange {
			return
		}
		w.cursor = "" // told that there is a gap
	}
}

func (w *watcher) follow(ctx context.Context, s *program.Process) error {
	headers := []string{}
	if w.cursor != "" {
		headers = append(headers, "actor-resume", w.cursor)
	}
	stream, err := counterAt(s, w.actor, headers...).Subscribe(ctx, new(counterv1.SubscribeRequest))
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for {
		event, err := stream.Receive()
		if err != nil {
			return err
		}
		info := event.GetInfo()
		switch {
		case event.GetCountChanged() != nil:
			if last := w.last.Load(); info.GetHead() != last+1 {
				w.t.Errorf("%s: event %d came after %d", w.actor, info.GetHead(), last)
			}
			w.last.Store(info.GetHead())
		case info.GetOpened() != nil && w.cursor == "":
			w.last.Store(info.GetHead())
		}
		w.cursor = info.GetCursor()
	}
}

func (w *watcher) check(t *testing.T, s *program.Process) {
	t.Helper()
	reply, err := counterAt(s, w.actor).Get(t.Context(), new(counterv1.GetRequest))
	if last := w.last.Load(); err != nil || uint64(reply.GetCount()) < last {
		t.Errorf("%s: the count is %d, %v, and there was an event %d", w.actor, reply.GetCount(), err, last)
	}
}

func lifecycle(s *program.Process) troupev1connect.ActorServiceClient {
	return troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(s.Client, s.URL)))
}
