// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package actors is Troupe's runtime and the API that an actor is written against.
//
// An actor is a Connect handler with a key, a state and a turn. Its author embeds
// [Actor] and the generated Unimplemented…Handler in a struct, writes the methods
// of the service, and registers the struct with [Register]. A [Host] keeps one
// instance for each key, brings it into memory when it is called and takes it out
// when it has been idle.
//
// # Turns
//
// Code of an actor runs in turns. A turn has the actor to itself; the methods that
// the service declares NO_SIDE_EFFECTS run beside each other and never beside a
// turn that writes. The guarantees, each of which a test holds:
//
//  1. Turns of one actor run in the order in which their calls arrived. Turns of
//     different actors never wait for each other.
//  2. A turn takes effect as a whole or not at all. After an error, a panic or the
//     end of its time, the actor's state is what it was before the turn. The
//     fields of the author's struct are not state: an error leaves them alone, a
//     panic gives the actor a fresh struct.
//  3. No reply, error or event leaves before every change that it could report is
//     durable. Later turns may run meanwhile, on state that is not yet durable; if
//     it cannot be made durable, all that saw it are undone and answered with
//     aborted.
//  4. The request is read before the turn and the reply is encoded inside it, so
//     that a turn touches memory and never a socket.
//  5. A call that ends while it waits never runs. A turn that has begun ends by
//     itself, whether its caller is there or not; past its time limit it can no
//     longer commit, and its actor is busy until its code returns.
//
// # Beside the actor
//
// A server-streaming method that is not the subscription is a streaming action: it
// holds no turn, runs beside the actor and keeps it awake. It enters a turn by
// [Actor.Turn] or [Actor.ReadTurn] to touch the actor's state, and so does the work
// that [Actor.Go] and [Actor.WaitUntil] supervise. A turn that is entered waits in
// the mailbox like a call, and returns when it is durable. What runs beside an actor
// is cancelled when the actor stops; code that is left over from an earlier life of
// the actor can enter no turn. Using the actor there without a turn panics.
//
// # What blocks whom
//
// A turn blocks the other turns of its actor and nobody else. A subscriber never
// blocks a turn: each connection has a bounded buffer, and one that does not read
// is cut. A full mailbox refuses the next call with resource_exhausted.
//
// # Connections and events
//
// The method marked as the subscription is served by the runtime: its request is
// the connection's parameters, its response the union of the actor's events.
// [Actor.Broadcast] publishes to every connection, in commit order. The hooks run
// in the order [BeforeConnect], creation if need be, [CreateConnState],
// [OnConnect]; a connection's first frame says who it is, then comes what its
// OnConnect hook sent, then what later turns publish. Connections live while their
// streams are open, also while the actor sleeps, and not longer than the process.
//
// # Calls to other actors
//
// [Actor.Actors] makes what the generated constructors of clients take: a direct call
// leaves at once and is answered, and is not undone if its caller's turn fails.
// [Actor.Outbox] sends messages, which are part of the turn and take effect once. A
// call that would wait for itself fails at once. See [Handles] and [Outbox].
//
// # Errors
//
// [Errorf] makes an error for callers. Whatever else a method returns is logged
// and reaches its caller as internal, with an id that finds it in the log. Every
// error says what became of the call in a troupe.v1.Outcome detail.
package actors
