// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

//go:build seedbug

package cluster

// seedbugs has the nodes planted with the bugs that these tests are.
var seedbugs = []string{"-tags", "seedbug"}
