// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fenced      = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```")
	inlineLink  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading     = regexp.MustCompile(`(?m)^#+ (.*)$`)
	linkedText  = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}_\- ]`)
)

// TestLinks holds that what a page links to in this tree is there, and that the
// section it names is.
func TestLinks(t *testing.T) {
	t.Parallel()
	all, anchors := files(t), make(map[string]map[string]bool)
	for _, f := range all {
		if f.is(".md") {
			anchors[f.path] = anchorsOf(f)
		}
	}
	links := 0
	for _, f := range all {
		if !f.is(".md") {
			continue
		}
		for _, found := range inlineLink.FindAllSubmatchIndex(withoutCode(f.text), -1) {
			link := string(f.text[found[2]:found[3]])
			if strings.Contains(link, ":") {
				continue // of another place
			}
			links++
			name, anchor, _ := strings.Cut(link, "#")
			target := f.path
			if name != "" {
				target = path.Join(path.Dir(f.path), name)
			}
			_, err := os.Stat(filepath.Join(root, filepath.FromSlash(target)))
			switch {
			case err != nil:
				t.Errorf("%s:%d: %v", f.path, lineOf(f.text, found[2]), err)
			case anchor != "" && anchors[target] != nil && !anchors[target][anchor]:
				t.Errorf("%s:%d: %s has no section #%s", f.path, lineOf(f.text, found[2]), target, anchor)
			}
		}
	}
	if links == 0 {
		t.Error("no page has a link")
	}
}

// anchorsOf returns the names of a page's sections, as GitHub makes them.
func anchorsOf(f file) map[string]bool {
	names := make(map[string]bool)
	for _, found := range heading.FindAllSubmatch(withoutCode(f.text), -1) {
		text := linkedText.ReplaceAllString(string(found[1]), "$1")
		text = notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(text)), "")
		names[strings.ReplaceAll(text, " ", "-")] = true
	}
	return names
}

// withoutCode blanks fenced blocks, and leaves everything where it is.
func withoutCode(text []byte) []byte {
	return fenced.ReplaceAllFunc(text, func(block []byte) []byte {
		blank := make([]byte, len(block))
		for i := range blank {
			blank[i] = ' '
		}
		return blank
	})
}
