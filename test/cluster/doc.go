// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package cluster runs several server processes over a real PostgreSQL and does to them
// what happens to machines.
package cluster
