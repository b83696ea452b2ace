// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package server is the edge of a troupe: it serves the actors of a registry over
// Connect, gRPC and gRPC-Web on one port, by HTTP/1.1 and HTTP/2.
//
// A request passes, in this order: the Host allow-list, CORS, the route (a map
// look-up, after a URL address has been turned into metadata), the node's
// admission limits, Connect, the address, the body, and then [actors.Host]. What
// is wrong is answered at the first step that can tell, with a typed error, and an
// address is judged before the body is read. Nothing of the runtime is here, and
// nothing of HTTP is there.
//
// [Main] is the whole program. [New] is for programs that have a main of their own.
package server
