// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package deploy has no code, only tests of the files in deploy/: they are read by the
// libraries of those who use them, hold against each other and against the program, and
// the compose file's processes run.
package deploy
