// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package seedbug plants bugs, to test the tests. A bug has a number, which the list
// in scripts/seedbugs explains, and stands in the code as one condition:
//
//	if err == nil || seedbug.On(21) {
//
// Without the build tag seedbug no bug is ever on and the compiler removes the
// condition. With it, the environment variable TROUPE_SEEDBUG says which one is.
package seedbug
