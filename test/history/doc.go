// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package history judges what callers and followers of registers (register.v1) were
// told while machines failed.
//
// There are two witnesses. The callers say when they asked, when they were answered and
// what the answer was; the followers say which events came. And there is the log of each
// register: the values that were ever written, in order, as the database has them once
// every process has stopped. A history is good if each effect that was promised is in
// the log, once, none is that was denied, and if there is an order of all operations,
// none of which comes before one that had ended when it began, in which each answer is
// right.
//
// An operation whose outcome its caller does not know may have had its effect at any
// time after it began, or never: the log says which. One that is not in the log and has
// been seen by a reader all the same makes the history a bad one, because nobody else
// writes that value.
package history
