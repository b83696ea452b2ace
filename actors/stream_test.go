// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"bytes"
	"context"
	"sync"
	"testing"

	agentv1 "github.com/troupe-dev/troupe/gen/go/agent/v1"
)

// logBuffer is a log that a test can read while it grows.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestAStreamingActionRunsBesideItsActor(t *testing.T) {
	t.Parallel()
	k := newTalkers(t, nil)
	release := make(chan struct{})
	k.ask = func(ctx context.Context, a *talker, send func(string) error) error {
		if err := a.Turn(ctx, a.count); err != nil {
			return err
		}
		if err := send("first "); err != nil {
			return err
		}
		<-release
		if err := a.Turn(ctx, a.count); err != nil {
			return err
		}
		return send("second ")
	}
	l := k.asks("x")
	if got := await(t, "token", l.tokens); got != "first x" {
		t.Fatalf("the first message is %q", got)
	}
	k.mustCount(1)
	k.mustDo() // the stream holds no turn
	k.mustCount(2)
	close(release)
	if got := await(t, "token", l.tokens); got != "second x" {
		t.Fatalf("the second message is %q", got)
	}
	if err := await(t, "end", l.ended); err != nil {
		t.Fatal(err)
	}
	k.mustCount(3)
}

var _ = agentv1.Role_ROLE_USER
