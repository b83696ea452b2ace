// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package sim runs whole clusters out of a seed: nodes with the decisions of package
// cluster, an authority, a store that fences commits, and everything that goes wrong
// between them. One seed is one history, always the same.
//
// What is simulated is time, the network, clocks, processes and the database. What is
// not is the code that decides: [cluster.Machine] runs as it does in a server.
package sim
