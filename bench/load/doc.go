// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package load is a load generator for Connect servers.
//
// It is meant to be cheap enough not to be what is measured: requests are built
// once, connections are kept, and of a response only the status, the length and
// the body are read. A [Pool] drives unary calls over HTTP/1.1, in a closed loop
// (each connection sends its next call when the last one is answered) or in an
// open one (calls start on a fixed timetable, and latency counts from the
// timetable, so that a stalled server cannot hide behind callers that wait). A
// [Multiplex] does the closed loop over h2c. A [Swarm] holds many open streams
// and counts what arrives on them.
//
// It speaks just enough HTTP to talk to a well-behaved server on the same
// machine; it is no HTTP client.
package load
