// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package troupe is the Go client of a Troupe server.
//
// An actor is called through the stock Connect client that buf generates for its
// service. [Dial] makes a [Client]; the client binds an actor's address to a
// [connect.Client], which every generated constructor takes:
//
//	client := troupe.Dial("http://localhost:8080")
//	room := chatv1connect.NewChatRoomClient(client.GetOrCreate("acme", "general"))
//	reply, err := room.Send(ctx, &chatv1.SendRequest{Text: "hi"})
//
// [Events] follows an actor's events and reconnects by itself. [Connect] opens a
// connection whose calls belong to it.
//
// # Errors
//
// Every error of a call wraps a [connect.Error], or is the context's or that of a
// [WithHeaders] function: [connect.CodeOf] gives its code. [Reason], [Metadata], [OutcomeOf],
// [Violations], [RetryDelay] and [CorrelationID] read the details that a Troupe
// server adds.
//
// # Retries
//
// A unary call is sent again, at most twice, in two cases only:
//
//   - the server says that the call had no effect and when to try again: the
//     error is resource_exhausted, unavailable or aborted, its outcome is
//     NOT_EXECUTED and it carries a RetryInfo;
//   - nobody knows whether the call had an effect, and that does not matter: the
//     error is unavailable or aborted, or resource_exhausted with a RetryInfo, or
//     the answer was lost on its way; and the method is declared NO_SIDE_EFFECTS
//     or IDEMPOTENT, or the call carries an idempotency key and its outcome is
//     UNKNOWN.
//
// Every call of an actor's method that is not declared either gets a random
// idempotency key, under which the server runs it once and keeps its reply for 10
// minutes; a caller can set the header idempotency-key to one of its own, kept for
// 24 hours. With [WithoutIdempotencyKeys] and without a key, a call whose answer is
// lost is not sent again: the caller decides. Waits have full jitter, begin at 50 ms and are never
// shorter than what the server asks for; a wait above 5 s or past the call's
// deadline is not begun. Over time at most a tenth of a client's calls are
// retries. [WithoutRetries] turns all of it off.
//
// # Concurrency
//
// A [Client] and everything it binds may be used by any number of goroutines.
package troupe
