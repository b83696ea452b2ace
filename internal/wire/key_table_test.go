// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/troupe-dev/troupe/internal/wire"
)

// keyTable is the table that the TypeScript client's encoding passes too.
type keyTable struct {
	Valid []struct {
		Segments []string `json:"segments"`
		Text     string   `json:"text"`
	} `json:"valid"`
	OtherTexts []struct {
		Text      string   `json:"text"`
		Segments  []string `json:"segments"`
		Canonical string   `json:"canonical"`
	} `json:"otherTexts"`
	InvalidSegments []struct {
		Why      string   `json:"why"`
		Segments []string `json:"segments"`
	} `json:"invalidSegments"`
	InvalidTexts []struct {
		Why  string `json:"why"`
		Text string `json:"text"`
	} `json:"invalidTexts"`
}

// TestSharedTable holds this encoding to the table of the TypeScript client, so that
// the two cannot drift apart.
func TestSharedTable(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../clients/typescript/test/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	var table keyTable
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	if len(table.Valid) == 0 || len(table.OtherTexts) == 0 || len(table.InvalidSegments) == 0 || len(table.InvalidTexts) == 0 {
		t.Fatal("a part of the table is empty")
	}
	for _, row := range table.Valid {
		if text, err := wire.EncodeKey(row.Segments); err != nil || text != row.Text {
			t.Errorf("EncodeKey(%q) = %q, %v; want %q", row.Segments, text, err, row.Text)
		}
		if segments, err := wire.DecodeKey(row.Text); err != nil || !slices.Equal(segments, row.Segments) {
			t.Errorf("DecodeKey(%q) = %q, %v; want %q", row.Text, segments, err, row.Segments)
		}
	}
	for _, row := range table.OtherTexts {
		if segments, err := wire.DecodeKey(row.Text); err != nil || !slices.Equal(segments, row.Segments) {
			t.Errorf("DecodeKey(%q) = %q, %v; want %q", row.Text, segments, err, row.Segments)
		}
		if text, err := wire.CanonicalKey(row.Text); err != nil || text != row.Canonical {
			t.Errorf("CanonicalKey(%q) = %q, %v; want %q", row.Text, text, err, row.Canonical)
		}
	}
	for _, row := range table.InvalidSegments {
		if text, err := wire.EncodeKey(row.Segments); err == nil {
			t.Errorf("EncodeKey(%q) = %q, want an error: %s", row.Segments, text, row.Why)
		}
	}
	for _, row := range table.InvalidTexts {
		if segments, err := wire.DecodeKey(row.Text); err == nil {
			t.Errorf("DecodeKey(%q) = %q, want an error: %s", row.Text, segments, row.Why)
		}
	}
}
