// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
)

// TestP22_AWriteToTheStateInAReadOnlyActionIsFound holds that it is found where
// [actors.Config.CheckReads] says so, and that nobody sees what was written.
func TestP22_AWriteToTheStateInAReadOnlyActionIsFound(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	k.mustAdd("a", 3)
	for name, get := range map[string]func(context.Context, *counter) error{
		"returns": func(_ context.Context, c *counter) error { c.State().Count = 1000; return nil },
		"fails": func(_ context.Context, c *counter) error {
			c.State().Count = 1000
			return actors.Errorf(connect.CodeAborted, "careless", "careless")
		},
	} {
		k.get = get
		_, err := k.count(t.Context(), "a")
		if want := (failure{connect.CodeInternal, "read_only_write", notExecuted}); failureOf(t, err) != want {
			t.Errorf("%s: got %v", name, err)
		}
		k.get = nil
		k.mustCount("a", 3)
		k.mustAdd("a", 1)
		k.mustAdd("a", -1)
	}
}
