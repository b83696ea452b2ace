// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package load measures a server under load in real time, beside what the same machine
// does without it in the same run: how late schedules run, what calls wait while a
// hundred thousand schedules are due or a thousand subscribers do not read, and what is
// left of the goodput at three times the capacity. The figures are printed, not judged:
// what the tests assert does not depend on time. TROUPE_LOAD=full takes the numbers of
// the contract; by default they are small.
package load
