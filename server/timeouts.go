// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"net/http"
	"strconv"
	"time"
)

// capTimeout lowers a deadline that the caller asked for to limit. Deadlines that
// cannot be read are left for Connect to refuse.
func capTimeout(header http.Header, limit time.Duration) {
	if values := header["Connect-Timeout-Ms"]; len(values) > 0 {
		if ms, err := strconv.ParseInt(values[0], 10, 64); err == nil && ms > limit.Milliseconds() && len(values[0]) <= 10 {
			header["Connect-Timeout-Ms"] = []string{strconv.FormatInt(limit.Milliseconds(), 10)}
		}
	}
	if values := header["Grpc-Timeout"]; len(values) > 0 {
		if asked, ok := grpcTimeout(values[0]); ok && asked > limit {
			header["Grpc-Timeout"] = []string{strconv.FormatInt(limit.Milliseconds(), 10) + "m"}
		}
	}
}

var timeoutUnits = map[byte]time.Duration{
	'n': time.Nanosecond, 'u': time.Microsecond, 'm': time.Millisecond, 'S': time.Second, 'M': time.Minute, 'H': time.Hour,
}

// maxGRPCTimeout is the largest number that Connect takes, behind any number of zeros.
const maxGRPCTimeout = 99_999_999

// grpcTimeout reads gRPC's form of a timeout: up to eight digits and a unit.
func grpcTimeout(text string) (time.Duration, bool) {
	last := len(text) - 1
	if last < 1 {
		return 0, false
	}
	n, err := strconv.ParseInt(text[:last], 10, 64)
	if err != nil || n < 0 || n > maxGRPCTimeout {
		return 0, false
	}
	unit, ok := timeoutUnits[text[last]]
	if !ok {
		return 0, false
	}
	if n > int64(24*time.Hour/unit) { // beyond any limit, and the product may not fit
		return 24 * time.Hour, true
	}
	return time.Duration(n) * unit, true
}
