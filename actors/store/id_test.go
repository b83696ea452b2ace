// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
)

func FuzzParseID(f *testing.F) {
	f.Add(store.ID{}.String())
	f.Add(store.NewID(7).String())
	f.Add("0000000000000000000000000\n")
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := store.ParseID(text); err == nil && id.String() != text {
			t.Errorf("%q was read as %q", text, id)
		}
	})
}
