// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"context"
	"fmt"
	"log/slog"
)

// engineLog passes Pebble's reports on. Pebble calls Fatalf when it cannot go on
// and counts on it not to return.
type engineLog struct {
	logger *slog.Logger
	fatal  func(error)
}

// Infof implements pebble.Logger.
func (l engineLog) Infof(format string, args ...any) {
	if l.logger.Enabled(context.Background(), slog.LevelDebug) {
		l.logger.Debug(fmt.Sprintf(format, args...))
	}
}

// Errorf implements pebble.Logger.
func (l engineLog) Errorf(format string, args ...any) {
	l.logger.Error(fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. It does not return.
func (l engineLog) Fatalf(format string, args ...any) {
	l.fatal(fmt.Errorf(format, args...))
	exit() // a Fatal of the options that came back
}
