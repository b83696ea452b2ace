// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package actorstest is the kit for testing actors: a whole server in memory, and
// stock clients of it.
//
//	func TestVisits(t *testing.T) {
//		srv := actorstest.New(t, registry)
//		visits := counterv1connect.NewCounterClient(srv.GetOrCreate("acme", "visits"))
//		…
//	}
//
// What a test calls is the real server: addresses, validation, errors, limits and
// subscriptions behave as in production, over HTTP, on a network that lives in
// memory. Nothing in it needs real time, so a test may run in a bubble of
// testing/synctest, where fake time drives sleep, time limits and heartbeats. The
// server must then be made inside the bubble.
//
// A test can make the store fail, end the server as kill -9 would and start it
// again: see [Server.FailNextCommit], [Server.CrashBeforeCommit],
// [Server.CrashAfterCommit], [Server.HoldCommits] and [Server.Restart]. Each faulty
// commit is the next one of any actor: the one that creates an actor is a commit
// too.
//
// A client made with [As] calls as a subject; others are anonymous and may do
// everything.
//
// A read-only action that changes its actor's state fails here, which a server in
// production does not look for.
package actorstest
