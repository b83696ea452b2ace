// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

//go:build race || seedbug

package sim

// usual is how many histories a test runs unless told otherwise.
const usual = 200
