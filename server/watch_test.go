// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// TestWatchCarriesManyActors holds that one stream carries several actors, each with
// a connection, parameters and a cursor of its own, in every protocol.
func TestWatchCarriesManyActors(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	input, err := structpb.NewStruct(map[string]any{"initial": "40"})
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range b.watchers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := counterNamed(1, name, "one")
			first.Input = &troupev1.Payload{Encoding: &troupev1.Payload_Json{Json: input}}
			w := openWatch(t, client, []*troupev1.Subscription{first})
			one := w.counterFrame(t, 1).GetInfo().GetOpened()
			if err := w.add(t, counterNamed(2, name, "two")); err != nil {
				t.Fatal(err)
			}
			two := w.counterFrame(t, 2).GetInfo().GetOpened()
			if one.GetConnectionId() == two.GetConnectionId() || one.GetActorId() == two.GetActorId() || one.GetConnection() == "" {
				t.Errorf("the connections are %v and %v", one, two)
			}
			if w.opened.GetMaxSubscriptions() != maxCarried || w.opened.GetHeartbeatInterval().AsDuration() != DefaultLimits().Heartbeat {
				t.Errorf("opened is %v", w.opened)
			}
			for n, key := range []string{name + "/two", name + "/one"} {
				ctx, _ := at(t.Context(), "actor-key", key)
				if _, err := b.counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 2}); err != nil {
					t.Fatal(err)
				}
				if got, want := w.counterFrame(t, uint32(2-n)).GetCountChanged().GetCount(), int64(2+40*n); got != want {
					t.Errorf("%s counts %d, want %d", key, got, want)
				}
			}
			// A call of a connection that is carried, while it is and afterwards.
			call := func() error {
				ctx, _ := at(t.Context(), "actor-key", name+"/one", "actor-conn", one.GetConnection())
				_, err := b.counters().Get(ctx, &counterv1.GetRequest{})
				return err
			}
			if err := call(); err != nil {
				t.Errorf("a call of a carried connection: %v", err)
			}
			if _, err := client.RemoveSubscription(t.Context(), &troupev1.RemoveSubscriptionRequest{Stream: w.opened.GetStream(), Number: 1}); err != nil {
				t.Fatal(err)
			}
			if err := w.ended(t, 1); err != nil {
				t.Errorf("a subscription that was removed ends with %v", err)
			}
			assertError(t, call(), connect.CodeFailedPrecondition, "connection_gone", "troupe.v1")
			ctx, _ := at(t.Context(), "actor-key", name+"/two")
			if _, err := b.counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
				t.Fatal(err)
			}
			if got := w.counterFrame(t, 2).GetCountChanged().GetCount(); got != 3 {
				t.Errorf("the other one got %d", got)
			}
		})
	}
}

// TestWatchResumes holds that a subscription of a shared stream goes on from its own
// cursor, and may name its actor by id and the events that it wants.
func TestWatchResumes(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	w := openWatch(t, b.watchers()["connect-proto-h1"], []*troupev1.Subscription{counterNamed(1, "a")})
	hello := w.counterFrame(t, 1).GetInfo()
	for range 3 {
		ctx, _ := at(t.Context(), "actor-key", "a")
		if _, err := b.counters().Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	second := &troupev1.Subscription{
		Number: 2, Type: counterType, Id: hello.GetOpened().GetActorId(), Resume: hello.GetCursor(), Events: []string{"count_changed"},
	}
	if err := w.add(t, second); err != nil {
		t.Fatal(err)
	}
	if opened := w.counterFrame(t, 2).GetInfo().GetOpened(); !opened.GetResumed() || opened.GetHeartbeatInterval() != nil {
		t.Errorf("opened is %v", opened)
	}
	for want := range int64(3) {
		if got := w.counterFrame(t, 2).GetCountChanged().GetCount(); got != want+1 {
			t.Fatalf("replayed %d, want %d", got, want+1)
		}
	}
}

// TestASubscriptionOfAStreamEndsAlone holds that each failure ends one subscription,
// with the error that a stream of its own would have, and none of the others.
func TestASubscriptionOfAStreamEndsAlone(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) {
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) },
			actors.BeforeConnect(func(_ context.Context, a actors.Attempt, _ *counterv1.SubscribeRequest) error {
				if a.Header.Get("x-say") == "refuse" {
					return actors.Errorf(connect.CodePermissionDenied, "not_you", "refused as asked")
				}
				return nil
			}))
	})
	w := openWatch(t, b.watchers()["connect-json-h1"], []*troupev1.Subscription{counterNamed(1, "a")})
	w.counterFrame(t, 1)
	number := uint32(1)
	for _, c := range []struct {
		name   string
		change func(*troupev1.Subscription)
		say    string
		code   connect.Code
		reason string
		domain string
	}{
		{"no type", func(s *troupev1.Subscription) { s.Type = "" }, "", connect.CodeInvalidArgument, "bad_actor_type", "troupe.v1"},
		{"another type", func(s *troupev1.Subscription) { s.Type = "a.B" }, "", connect.CodeInvalidArgument, "bad_actor_type", "troupe.v1"},
		{"bad key", func(s *troupev1.Subscription) { s.Key = []string{"\x00"} }, "", connect.CodeInvalidArgument, "bad_actor_key", "troupe.v1"},
		{"bad id", func(s *troupev1.Subscription) { s.Key, s.Id = nil, "x" }, "", connect.CodeInvalidArgument, "bad_actor_id", "troupe.v1"},
		{"key and id", func(s *troupev1.Subscription) { s.Id = "x" }, "", connect.CodeInvalidArgument, "address_conflict", "troupe.v1"},
		{"namespace", func(s *troupev1.Subscription) { s.Namespace = "other" }, "", connect.CodeNotFound, "unknown_namespace", "troupe.v1"},
		{"resolve", func(s *troupev1.Subscription) { s.Resolve = 9 }, "", connect.CodeInvalidArgument, "bad_actor_resolve", "troupe.v1"},
		{"absent", func(s *troupev1.Subscription) { s.Resolve = troupev1.Subscription_RESOLVE_GET }, "", connect.CodeNotFound, "actor_not_found", "troupe.v1"},
		{"present", func(s *troupev1.Subscription) {
			s.Key, s.Resolve = []string{"a"}, troupev1.Subscription_RESOLVE_CREATE
		}, "", connect.CodeAlreadyExists, "actor_exists", "troupe.v1"},
		{"params", func(s *troupev1.Subscription) {
			s.Params = &troupev1.Payload{Encoding: &troupev1.Payload_Binary{Binary: []byte{1}}}
		}, "", connect.CodeInvalidArgument, "bad_request_body", "troupe.v1"},
		{"input", func(s *troupev1.Subscription) {
			s.Input = &troupev1.Payload{Encoding: &troupev1.Payload_Binary{Binary: []byte{1}}}
		}, "", connect.CodeInvalidArgument, "bad_request_body", "troupe.v1"},
		{"events", func(s *troupev1.Subscription) { s.Events = []string{"nothing"} }, "", connect.CodeInvalidArgument, "bad_actor_events", "troupe.v1"},
		{"cursor", func(s *troupev1.Subscription) { s.Resume = "nonsense" }, "", connect.CodeInvalidArgument, "bad_actor_resume", "troupe.v1"},
		{"refused", func(*troupev1.Subscription) {}, "refuse", connect.CodePermissionDenied, "not_you", counterType},
	} {
		number++
		s := counterNamed(number, "absent")
		c.change(s)
		if err := w.add(t, s, "x-say", c.say); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		t.Log(c.name)
		assertError(t, errorOf(w.ended(t, number)), c.code, c.reason, c.domain)
	}
	// One actor is destroyed, and the other one still has its events.
	number++
	if err := w.add(t, counterNamed(number, "doomed")); err != nil {
		t.Fatal(err)
	}
	cursor := w.counterFrame(t, number).GetInfo().GetCursor()
	if _, err := w.client.Destroy(t.Context(), &troupev1.DestroyRequest{Address: &troupev1.Address{Type: counterType, Key: []string{"doomed"}}}); err != nil {
		t.Fatal(err)
	}
	if closing := w.counterFrame(t, number).GetInfo().GetClosing(); closing.GetReason() != troupev1.CloseReason_CLOSE_REASON_DESTROYED {
		t.Errorf("closing is %v", closing)
	}
	if err := w.ended(t, number); err != nil {
		t.Errorf("a destroyed actor's subscription ends with %v", err)
	}
	number++
	late := counterNamed(number, "doomed")
	late.Resume = cursor
	if err := w.add(t, late); err != nil {
		t.Fatal(err)
	}
	if err := errorOf(w.ended(t, number)); connect.CodeOf(err) != connect.CodeOutOfRange {
		t.Errorf("a cursor of the destroyed actor: %v", err)
	}
	b.increment(t, "a")
	if got := w.counterFrame(t, 1).GetCountChanged().GetCount(); got != 1 {
		t.Errorf("the first one got %d", got)
	}
}

// TestWatchLimits holds the bounds of a shared stream, and who may change it.
func TestWatchLimits(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) {
		authenticated(cfg)
		cfg.Limits.SubscriptionsPerPrincipal = maxCarried + 2
	})
	client := b.watchers()["connect-proto-h1"]
	as := func(subject string) []string { return []string{"Authorization", subject} }
	many := make([]*troupev1.Subscription, maxCarried)
	for n := range many {
		many[n] = counterNamed(uint32(n+2), fmt.Sprint(n))
	}
	w := openWatch(t, client, many, as("ada")...)
	for range maxCarried {
		w.next(t)
	}
	assertError(t, w.add(t, counterNamed(100, "x"), as("ada")...), connect.CodeResourceExhausted, "too_many_subscriptions_of_stream", "troupe.v1")
	if err := w.add(t, counterNamed(2, "x"), as("ada")...); err != nil {
		t.Errorf("a number that is carried: %v", err)
	}
	assertError(t, w.add(t, counterNamed(0, "x"), as("ada")...), connect.CodeInvalidArgument, "invalid_message", "troupe.v1")
	assertError(t, w.add(t, counterNamed(200, "x"), as("root")...), connect.CodeFailedPrecondition, "stream_gone", "troupe.v1")
	forged := *w
	forged.opened = proto.CloneOf(w.opened)
	forged.opened.Stream = forged.opened.GetStreamId() + "." + strings.Repeat("0", 32)
	assertError(t, forged.add(t, counterNamed(200, "x"), as("ada")...), connect.CodeFailedPrecondition, "stream_gone", "troupe.v1")

	// One leaves, so there is room; its number stays used, and an old one is refused.
	ctx, _ := at(t.Context(), as("ada")...)
	if _, err := client.RemoveSubscription(ctx, &troupev1.RemoveSubscriptionRequest{Stream: w.opened.GetStream(), Number: 2}); err != nil {
		t.Fatal(err)
	}
	w.ended(t, 2)
	if err := w.add(t, counterNamed(numberWindow+1, "x"), as("ada")...); err != nil {
		t.Fatal(err)
	}
	w.counterFrame(t, numberWindow+1)
	assertError(t, w.add(t, counterNamed(1, "x"), as("ada")...), connect.CodeInvalidArgument, "bad_subscription", "troupe.v1")

	// What is carried counts for the principal: one more is too many.
	other := openWatch(t, client, []*troupev1.Subscription{counterNamed(1, "y")}, as("ada")...)
	assertError(t, errorOf(other.ended(t, 1)), connect.CodeResourceExhausted, "too_many_subscriptions_of_principal", "troupe.v1")

	ctx, _ = at(t.Context(), as("root")...)
	stream, err := client.Watch(ctx, &troupev1.WatchRequest{Subscriptions: slices.Concat(many, []*troupev1.Subscription{counterNamed(1000, "x")})})
	if err == nil {
		_, err = stream.Receive()
		_ = stream.Close()
	}
	assertError(t, err, connect.CodeResourceExhausted, "too_many_subscriptions_of_stream", "troupe.v1")
	ctx, _ = at(t.Context(), as("root")...)
	stream, err = client.Watch(ctx, &troupev1.WatchRequest{Subscriptions: []*troupev1.Subscription{counterNamed(1, "x"), counterNamed(1, "y")}})
	if err == nil {
		_, err = stream.Receive()
		_ = stream.Close()
	}
	assertError(t, err, connect.CodeInvalidArgument, "bad_subscription", "troupe.v1")
}

// TestWatchHeartbeat holds that a quiet stream has one heartbeat, whatever it carries.
func TestWatchHeartbeat(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.Heartbeat = 10 * time.Millisecond })
	w := openWatch(t, b.watchers()["grpc-web-h1"], []*troupev1.Subscription{counterNamed(1, "a"), counterNamed(2, "b")})
	w.counterFrame(t, 1)
	for beats := 0; beats < 3; {
		switch frame := w.next(t); {
		case frame.GetHeartbeat() != nil && frame.GetSubscription() == 0:
			beats++
		case frame.GetEvent() != nil && counterEvent(t, frame).GetInfo().GetHeartbeat() != nil:
			t.Error("a subscription has a heartbeat of its own")
		}
	}
}

// TestWatchEnds holds how the server ends a stream: by its age, and when it stops.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	w := openWatch(t, b.watchers()["connect-proto-h2"], []*troupev1.Subscription{counterNamed(1, "a")})
	w.counterFrame(t, 1)
	go func() { _ = b.Shutdown(context.Background()) }() // the cleanup waits for it
	if closing := w.counterFrame(t, 1).GetInfo().GetClosing(); closing.GetReason() != troupev1.CloseReason_CLOSE_REASON_SHUTDOWN {
		t.Errorf("the subscription's closing frame is %v", closing)
	}
	if err := w.ended(t, 1); err != nil {
		t.Errorf("the subscription ends with %v", err)
	}
	if closing := w.next(t).GetClosing(); closing.GetReason() != troupev1.CloseReason_CLOSE_REASON_SHUTDOWN || closing.GetReconnectAfter() == nil {
		t.Errorf("the stream's closing frame is %v", closing)
	}

	old := setup(t, func(cfg *Config) { cfg.Limits.StreamAge = time.Millisecond })
	aged := openWatch(t, old.watchers()["grpc-h2"], nil)
	if closing := aged.next(t).GetClosing(); closing.GetReason() != troupev1.CloseReason_CLOSE_REASON_EXPIRED {
		t.Errorf("the closing frame of an old stream is %v", closing)
	}
}

// dammed opens a shared stream of the counters a and b behind a dam.
func (b *bundle) dammed(t *testing.T) (*dammedWriter, <-chan struct{}) {
	t.Helper()
	body, err := proto.Marshal(&troupev1.WatchRequest{Subscriptions: []*troupev1.Subscription{counterNamed(1, "a"), counterNamed(2, "b")}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/troupe.v1.ActorService/Watch", bytes.NewReader(envelope(body)))
	request.Header.Set("Content-Type", "application/connect+proto")
	request.Host = "127.0.0.1"
	w := newDammedWriter()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Handler().ServeHTTP(w, request)
	}()
	t.Cleanup(func() { cancel(); w.dam(false); <-done })
	w.await(func() bool { return len(w.framesLocked(t)) == 3 }) // all three have opened
	w.dam(true)
	return w, done
}

// TestWatchBoundsWhatHasEnded holds that what ends at once on a stream whose peer reads
// nothing keeps its place until its last frame can be written.
func TestWatchBoundsWhatHasEnded(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.WriteTimeout = time.Minute })
	dammed, _ := b.dammed(t)
	w := &watching{client: b.watchers()["connect-proto-h1"]}
	dammed.await(func() bool { w.opened = dammed.framesLocked(t)[0].GetOpened(); return true })
	nobody := func(number uint32) *troupev1.Subscription {
		return &troupev1.Subscription{Number: number, Type: "nobody.v1.Nobody"}
	}
	number, err := uint32(2), error(nil)
	for number < 2*maxCarried && err == nil {
		number++
		err = w.add(t, nobody(number))
	}
	assertError(t, err, connect.CodeResourceExhausted, "too_many_subscriptions_of_stream", "troupe.v1")
	dammed.dam(false)
	dammed.await(func() bool { return len(dammed.framesLocked(t)) == int(number) }) // three, and of each since 3 one
	if err := w.add(t, nobody(number)); err != nil {
		t.Errorf("after their last frames: %v", err)
	}
}

// TestWatchCutsTheSlowOne holds that of a peer that reads too slowly only the
// subscription whose buffer overflows is cut.
func TestWatchCutsTheSlowOne(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) {
		cfg.Registry = actors.NewRegistry()
		actors.Register(cfg.Registry, counterv1connect.RegisterCounterHandler, func() *counter { return new(counter) }, actors.SubscriberBuffer(4, 1<<20))
	})
	w, _ := b.dammed(t)
	for range 20 {
		b.increment(t, "a")
	}
	b.increment(t, "b")
	b.increment(t, "b")
	w.dam(false)
	var slow *troupev1.SubscriptionError
	var closing *troupev1.ConnectionClosing
	var last int64
	w.await(func() bool {
		for _, frame := range w.framesLocked(t) {
			switch {
			case frame.GetEnded() != nil && frame.GetSubscription() == 1:
				slow = frame.GetEnded().GetError()
			case frame.GetEnded() != nil || frame.GetClosing() != nil:
				t.Errorf("it ended too: %v", frame)
				return true
			case frame.GetSubscription() == 1:
				closing = counterEvent(t, frame).GetInfo().GetClosing()
			case frame.GetSubscription() == 2:
				last = counterEvent(t, frame).GetCountChanged().GetCount()
			}
		}
		return slow != nil && last == 2
	})
	if closing.GetReason() != troupev1.CloseReason_CLOSE_REASON_SLOW {
		t.Errorf("the closing frame is %v", closing)
	}
	assertError(t, errorOf(slow), connect.CodeResourceExhausted, "slow_subscriber", "troupe.v1")
	b.increment(t, "b")
	w.await(func() bool {
		frames := w.framesLocked(t)
		return counterEvent(t, frames[len(frames)-1]).GetCountChanged().GetCount() == 3
	})
}

// TestWatchStuckPeer holds that a stream whose peer takes nothing at all is cut, with
// everything on it.
func TestWatchStuckPeer(t *testing.T) {
	t.Parallel()
	b := setup(t, func(cfg *Config) { cfg.Limits.WriteTimeout = 50 * time.Millisecond; cfg.Limits.Subscriptions = 3 })
	_, done := b.dammed(t)
	b.increment(t, "a")
	<-done
	w := openWatch(t, b.watchers()["connect-proto-h1"], []*troupev1.Subscription{counterNamed(1, "a"), counterNamed(2, "b")})
	for range 2 { // so the places of the three are free again
		if frame := w.next(t); counterEvent(t, frame).GetInfo().GetOpened() == nil {
			t.Errorf("got %v", frame)
		}
	}
}
