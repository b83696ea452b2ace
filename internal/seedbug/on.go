// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

//go:build seedbug

package seedbug

import (
	"os"
	"strconv"
)

var planted, _ = strconv.Atoi(os.Getenv("TROUPE_SEEDBUG")) // 0 without one

// On reports whether the bug with the number n is planted.
func On(n int) bool { return n == planted }
