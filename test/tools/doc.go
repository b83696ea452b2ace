// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package tools holds the tests that call a real server with other people's tools.
package tools
