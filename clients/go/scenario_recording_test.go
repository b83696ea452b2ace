// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"connectrpc.com/connect/v2"
	troupe "github.com/troupe-dev/troupe/clients/go"
	stagev1 "github.com/troupe-dev/troupe/gen/go/stage/v1"
	"github.com/troupe-dev/troupe/gen/go/stage/v1/stagev1connect"
)

// recording is a connection and what it has gone through.
type recording struct {
	conn     *troupe.Connection[stagev1connect.StageClient, *stagev1.StageEvent]
	entries  chan map[string]any
	disposed atomic.Bool
	ended    sync.WaitGroup
}

// record opens a connection. params has the parameters of each attempt.
func record(ctx context.Context, client *connect.Client, params []*stagev1.WatchRequest, opts ...troupe.EventOption) *recording {
	r := &recording{entries: make(chan map[string]any, 1000)}
	var attempts atomic.Int32
	r.conn = troupe.Connect(ctx, client, stagev1connect.NewStageClient,
		func(c stagev1connect.StageClient, ctx context.Context, _ *stagev1.WatchRequest) (stagev1connect.StageWatchClientStream, error) {
			n := int(attempts.Add(1)) - 1
			return c.Watch(ctx, params[min(n, len(params)-1)])
		}, params[0], append(opts, troupe.WithControlFrames())...)
	r.ended.Go(r.follow)
	return r
}

// follow notes what comes.
func (r *recording) follow() {
	gap := false
	for event, err := range r.conn.Events() {
		opened := event.GetInfo().GetOpened()
		fields := event.ProtoReflect()
		switch {
		case errors.Is(err, troupe.ErrGap):
			gap = true
		case err != nil:
			r.entries <- map[string]any{"closed": r.closed(err)}
		case opened != nil:
			r.entries <- map[string]any{"opened": map[string]any{"resumed": opened.GetResumed(), "gap": gap}}
			gap = false
		default:
			field := fields.WhichOneof(fields.Descriptor().Oneofs().ByName("event"))
			if field != nil {
				value := asJSON(fields.Get(field).Message().Interface())
				r.entries <- map[string]any{"event": field.JSONName(), "value": value}
			}
		}
	}
}

func (r *recording) closed(err error) map[string]any {
	if r.disposed.Load() {
		return map[string]any{"reason": "disposed"}
	}
	if closed, ok := errors.AsType[*troupe.ClosedError](err); ok {
		reason := strings.ToLower(strings.TrimPrefix(closed.Reason.String(), "CLOSE_REASON_"))
		return map[string]any{"reason": reason, "code": closed.Code, "message": closed.Message}
	}
	return map[string]any{"reason": "error", "error": errorJSON(err)}
}

func (r *recording) dispose() {
	r.disposed.Store(true)
	_ = r.conn.Close()
	r.ended.Wait()
}

func (r *recording) status() string {
	switch r.conn.Status().State {
	case troupe.Open:
		return "connected"
	case troupe.Ended:
		return "closed"
	}
	return "lost"
}

// next takes one entry.
func (r *recording) next(ctx context.Context) (map[string]any, error) {
	select {
	case got := <-r.entries:
		return got, nil
	case <-ctx.Done():
		return nil, errors.New("no further entry came")
	}
}

// expect takes the entries that a step waits for.
func (r *recording) expect(ctx context.Context, entries []entry) error {
	for _, want := range entries {
		if want.Event != "" {
			if err := r.expectEvent(ctx, want); err != nil {
				return err
			}
			continue
		}
		object := map[string]any{"opened": want.Opened}
		if want.Closed != nil {
			object = map[string]any{"closed": want.Closed}
		}
		got, err := r.next(ctx)
		if err != nil {
			return fmt.Errorf("want %v: %w", object, err)
		}
		if err := match(object, got, "the entry"); err != nil {
			return fmt.Errorf("want %v, got %v: %w", object, brief(got), err)
		}
	}
	return nil
}

func (r *recording) expectEvent(ctx context.Context, want entry) error {
	values := []map[string]any{want.Value}
	if want.From != nil {
		values = nil
		for n := *want.From; n <= want.To; n++ {
			values = append(values, map[string]any{"n": float64(n)})
		}
	}
	reopened := 0
	for _, value := range values {
		object := map[string]any{"event": want.Event}
		if value != nil {
			object["value"] = value
		}
		for {
			got, err := r.next(ctx)
			if err != nil {
				return fmt.Errorf("want %v: %w", object, err)
			}
			if opened, ok := got["opened"]; ok && want.Reopens != nil {
				if err := match(map[string]any{"resumed": true, "gap": false}, opened, "opened"); err != nil {
					return err
				}
				reopened++
				continue
			}
			why := match(object, got, "the entry")
			if why == nil {
				break
			}
			if !want.Skip || got["event"] != want.Event {
				return fmt.Errorf("want %v, got %v: %w", object, brief(got), why)
			}
		}
	}
	if want.Reopens != nil && reopened < *want.Reopens {
		return fmt.Errorf("the connection opened again %d times, not %d", reopened, *want.Reopens)
	}
	return nil
}

func brief(got map[string]any) string {
	text := fmt.Sprint(got)
	return text[:min(len(text), 300)]
}
