// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// Tally is the actor of the examples, whose parts docs/guide.md shows.
type Tally struct {
	counterv1connect.UnimplementedCounterHandler
	actors.Actor[*counterv1.CounterState, *counterv1.CounterEvent]
}

// Increment changes the state, refuses what must not be, and tells subscribers.
func (t *Tally) Increment(_ context.Context, req *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
	state := t.State()
	state.Count += req.GetAmount()
	if state.GetCount() < 0 {
		return nil, actors.Errorf(connect.CodeFailedPrecondition, "below_zero", "the count would be %d", state.GetCount())
	}
	t.Broadcast(&counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{
		CountChanged: &counterv1.CountChanged{Count: state.GetCount()},
	}})
	return &counterv1.IncrementResponse{Count: state.GetCount()}, nil
}

// ServeHTTP makes the actor a handler of raw requests.
func (t *Tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var count int64
	if err := t.ReadTurn(r.Context(), func(context.Context) error {
		count = t.State().GetCount()
		return nil
	}); err != nil {
		http.Error(w, "try again", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write(strconv.AppendInt(nil, count, 10))
}

func (t *Tally) onWake(context.Context) error {
	t.Log().Info("awake", slog.Int64("count", t.State().GetCount()))
	return nil
}

func (t *Tally) onConnect(_ context.Context, conn *actors.Conn) error {
	conn.SetTags("watchers")
	t.SendTo(conn, &counterv1.CounterEvent{Event: &counterv1.CounterEvent_CountChanged{
		CountChanged: &counterv1.CountChanged{Count: t.State().GetCount()},
	}})
	return nil
}

func ExampleRegister() {
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *Tally { return new(Tally) },
		actors.OnWake((*Tally).onWake),
		actors.OnConnect((*Tally).onConnect),
		actors.SleepAfter(time.Minute),
		actors.HookTimeouts{Wake: 20 * time.Second},
	)
	// Output:
}

func ExampleKV() {
	// In an action:
	_ = func(ctx context.Context, t *Tally, name string, score uint64) ([]actors.Pair, error) {
		key := append([]byte("score/"), name...)
		if err := t.KV().Put(key, strconv.AppendUint(nil, score, 10)); err != nil {
			return nil, err
		}
		return t.KV().List(ctx, actors.Range{Prefix: []byte("score/"), Limit: 10})
	}
	// Output:
}

func ExampleSchedules() {
	// In an action:
	_ = func(t *Tally) error {
		if _, err := t.Schedule().After(time.Hour, counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 1}); err != nil {
			return err
		}
		_, err := t.Schedule().Cron("30 6 * * MON-FRI", "Europe/Berlin",
			counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 10},
			actors.Name("morning"), actors.OnMissed(actors.RunNone))
		return err
	}
	// Output:
}

func ExampleHandles() {
	// In an action:
	_ = func(ctx context.Context, t *Tally) (int64, error) {
		other := counterv1connect.NewCounterClient(t.Actors().GetOrCreate("acme", "total"))
		reply, err := other.Get(ctx, &counterv1.GetRequest{})
		if err != nil {
			return 0, actors.Relay(err) // or handle it
		}
		return reply.GetCount(), nil
	}
	// Output:
}

func ExampleOutbox() {
	// In an action:
	_ = func(t *Tally) error {
		return t.Outbox().Send(actors.Peer{Key: []string{"acme", "total"}},
			counterv1connect.CounterIncrementProcedure, &counterv1.IncrementRequest{Amount: 1})
	}
	// Output:
}

func ExampleActor_Go() {
	// In an action or a hook:
	_ = func(t *Tally, fetch func(context.Context) (int64, error)) {
		t.Go(func(ctx context.Context) {
			amount, err := fetch(ctx) // outside the turn: it may take its time
			if err != nil {
				t.Log().Warn("nothing fetched", slog.Any("error", err))
				return
			}
			if err := t.Turn(ctx, func(context.Context) error {
				t.State().Count += amount
				return nil
			}); err != nil {
				t.Log().Warn("not counted", slog.Any("error", err))
			}
		})
	}
	// Output:
}

func ExampleMigrate() {
	registry := actors.NewRegistry()
	actors.Register(registry, counterv1connect.RegisterCounterHandler, func() *Tally { return new(Tally) },
		actors.Migrate(func(_ context.Context, old *counterv1.CounterState) (*counterv1.CounterState, error) {
			old.Count *= 100 // version 1 counts in cents
			return old, nil
		}),
	)
	// Output:
}
