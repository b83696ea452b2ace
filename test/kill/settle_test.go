// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package kill_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"github.com/troupe-dev/troupe/test/program"
)

// settlePatience is for a busy machine: 200 kills leave thousands of messages, each of which
// is three commits.
const settlePatience = 10 * time.Minute

// settle starts the server until nothing is left to be done, and returns the books
// then, or those after settlePatience. A message that was received and is not yet signed off
// when the server is killed is left for the next start.
func settle(t *testing.T, server, data string, all []*account, books []*book) []*book {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settlePatience)
	defer cancel()
	for rest := 50 * time.Millisecond; ; rest *= 2 {
		s := program.Start(t, server, data)
		follow(ctx, t, s, all, books)
		select {
		case <-time.After(rest): // what is left then decides
		case <-ctx.Done():
		}
		s.Kill()
		books = readBooks(t, data)
		left := 0
		for _, b := range books {
			left += b.left()
		}
		if left == 0 || t.Failed() || ctx.Err() != nil {
			return books
		}
	}
}

// left is how much is yet to be done.
func (b *book) left() int { return len(b.scheduled) + len(b.sent) }

// follow waits until those who watch have seen all that is to come of what was paid. On a
// slow machine one kill after another may hit the same message or schedule, which is given
// up then: somebody asks for another try of it, as an operator would.
func follow(ctx context.Context, t *testing.T, s *program.Process, all []*account, books []*book) {
	t.Helper()
	following, stop := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	for _, a := range all {
		watchers.Go(func() { a.watcher.work(following, s) })
	}
	for ctx.Err() == nil && !seen(all, books) {
		revive(ctx, t, s)
		select {
		case <-time.After(5 * time.Millisecond): // the next look decides
		case <-ctx.Done():
		}
	}
	stop()
	watchers.Wait()
	for n, a := range all {
		if last, want := a.watcher.last.Load(), events(books, n); last != want {
			t.Errorf("account %d: the newest event is %d of %d", n, last, want)
		}
	}
}

// events is how many an account has in the end: a payment and its run, and what is
// received.
func events(books []*book, n int) uint64 {
	before := books[(n+accounts-1)%accounts]
	return uint64(2*len(books[n].paid) + len(before.paid))
}

func seen(all []*account, books []*book) bool {
	for n, a := range all {
		if a.watcher.last.Load() < events(books, n) {
			return false
		}
	}
	return true
}

// revive asks for another try of everything that was given up.
func revive(ctx context.Context, t *testing.T, s *program.Process) {
	t.Helper()
	service := troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(s.Client, s.URL)))
	messages, err := service.ListDeadMessages(ctx, &troupev1.ListDeadMessagesRequest{})
	if err != nil {
		t.Errorf("ListDeadMessages: %v", err)
	}
	for _, m := range messages.GetMessages() {
		address := &troupev1.Address{Type: m.GetType(), Key: m.GetKey()}
		if _, err := service.RetryMessage(ctx, &troupev1.RetryMessageRequest{Address: address, Message: m.GetMessage()}); err != nil {
			t.Errorf("RetryMessage: %v", err)
		}
	}
	schedules, err := service.ListDeadSchedules(ctx, &troupev1.ListDeadSchedulesRequest{})
	if err != nil {
		t.Errorf("ListDeadSchedules: %v", err)
	}
	for _, d := range schedules.GetSchedules() {
		address := &troupev1.Address{Type: d.GetType(), Key: d.GetKey()}
		if _, err := service.RetrySchedule(ctx, &troupev1.RetryScheduleRequest{Address: address, Schedule: d.GetSchedule()}); err != nil {
			t.Errorf("RetrySchedule: %v", err)
		}
	}
}
