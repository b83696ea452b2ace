// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package kill holds the tests that kill a real server.
package kill
