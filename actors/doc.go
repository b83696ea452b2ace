// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package actors is Troupe's runtime and the API that an actor is written against.
package actors
