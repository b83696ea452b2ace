// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"math/rand/v2"
	"strings"
	"time"
)

// retryPause is how long to wait after so many failed attempts, at least one: first,
// twice as long each time up to longest, and then up to a quarter more or less, so
// that what failed together parts.
func retryPause(attempts uint32, first, longest time.Duration) time.Duration {
	pause := first
	for n := uint32(1); n < attempts && pause < longest; n++ { // a shift would overflow
		pause *= 2
	}
	pause = min(pause, longest)
	return pause + time.Duration((rand.Float64()-0.5)/2*float64(pause)) //nolint:gosec // no secret
}

// maxFailureText bounds what a row keeps of why an attempt failed.
const maxFailureText = 1 << 10

// failureText makes of an error's text, which may be whatever its author likes, what a
// row can keep.
func failureText(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxFailureText)], "\uFFFD")
}
