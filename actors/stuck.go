// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"
)

const (
	// stackInterval is how often stacks are looked at, which stops the process for
	// a moment.
	stackInterval = 10 * time.Second
	// maxStackText bounds what a line of the log holds of them.
	maxStackText = 16 << 10
)

// stuck logs turns that did not end in time. It belongs to the watchdog.
type stuck struct{ looked time.Time }

// report logs that a turn is sealed while its code runs, and where the code is. Go
// does not say which goroutine runs which turn, so it shows those of all turns.
func (s *stuck) report(t *turn) {
	attrs := []any{slog.Duration("after", time.Since(t.queuedAt).Round(time.Millisecond))}
	if t.method != nil {
		attrs = append(attrs, slog.String("procedure", t.method.Spec.Procedure))
	}
	if now := time.Now(); s.looked.IsZero() || now.Sub(s.looked) >= stackInterval {
		s.looked = now
		attrs = append(attrs, slog.String("running_turns", runningTurns()))
	}
	t.inst.logger().Error("a turn did not end in time; its actor is busy until its code returns", attrs...)
}

// runningTurns returns the distinct stacks of the turns that run, each from the
// innermost call to where the author's code begins.
func runningTurns() string {
	records := make([]runtime.StackRecord, runtime.NumGoroutine()+64)
	n, ok := runtime.GoroutineProfile(records)
	if !ok {
		return "" // so many goroutines have begun meanwhile
	}
	var text strings.Builder
	seen := make(map[string]bool)
	for i := range records[:n] {
		stack := turnStack(records[i].Stack())
		if stack == "" || seen[stack] {
			continue
		}
		if seen[stack] = true; text.Len()+len(stack) > maxStackText {
			text.WriteString("…\n")
			break
		}
		text.WriteString(stack)
		text.WriteString("\n")
	}
	return text.String()
}

// turnStack describes the stack of a goroutine that runs a turn; it is empty for
// any other.
func turnStack(pcs []uintptr) string {
	var text strings.Builder
	frames := runtime.CallersFrames(pcs)
	for {
		frame, more := frames.Next()
		if frame.Entry == turnEntry {
			return text.String()
		}
		fmt.Fprintf(&text, "%s\n\t%s:%d\n", frame.Function, frame.File, frame.Line)
		if !more {
			return ""
		}
	}
}
