// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package model holds the model test: random turns, failures, crashes and sleeps of
// actors on a whole server, compared with a plain model of what was promised after
// each step.
//
// A machine's actions are methods of world, one file for each subject; what a turn
// does is made of steps, which [steps] lists. A new feature adds a field to actor (and
// to its clone), steps in a file of its own, and what check compares.
package model
