// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	testName     = regexp.MustCompile("`(Test[A-Z][A-Za-z0-9_]*)`")
	testFunction = regexp.MustCompile(`(?m)^func (Test[A-Z][A-Za-z0-9_]*)\(`)
	flagName     = regexp.MustCompile("`-([a-z-]+)`")
	optionName   = regexp.MustCompile("`actors\\.([A-Z][A-Za-z]*)`")
)

// TestDocsNameRealTests holds that every test that a page names is there.
func TestDocsNameRealTests(t *testing.T) {
	t.Parallel()
	all := files(t)
	tests := testFunctions(all)
	for _, f := range all {
		if !strings.HasPrefix(f.path, "docs/") || !f.is(".md") {
			continue
		}
		for _, found := range testName.FindAllSubmatchIndex(f.text, -1) {
			if name := string(f.text[found[2]:found[3]]); !tests[name] {
				t.Errorf("%s:%d: there is no test %s", f.path, lineOf(f.text, found[0]), name)
			}
		}
	}
}

// reason matches the reason of an error that the runtime or the edge makes.
var reason = regexp.MustCompile(`(?:refusal[({]|Errorf\()connect\.Code\w+, "([a-z_]+)"`)

// TestReasonsAreDocumented holds that the page about the wire has every reason that
// a caller may see.
func TestReasonsAreDocumented(t *testing.T) {
	t.Parallel()
	all := files(t)
	page := textOf(t, all, "docs/wire.md")
	for _, f := range all {
		if !strings.HasPrefix(f.path, "actors/") && !strings.HasPrefix(f.path, "server/") || !f.is(".go") || strings.HasSuffix(f.path, "_test.go") ||
			strings.HasPrefix(f.path, "actors/actorstest/") {
			continue
		}
		for _, found := range reason.FindAllSubmatchIndex(f.text, -1) {
			if name := string(f.text[found[2]:found[3]]); !strings.Contains(page, "`"+name+"`") {
				t.Errorf("%s:%d: docs/wire.md does not have the reason %s", f.path, lineOf(f.text, found[0]), name)
			}
		}
	}
}

// TestEveryLimitHasATest holds that each row of the limits page says what the limit
// is, what sets it, what its answer is, and which test refutes it.
func TestEveryLimitHasATest(t *testing.T) {
	t.Parallel()
	all := files(t)
	rows := 0
	for i, line := range strings.Split(textOf(t, all, "docs/semantics/limits.md"), "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| Limit ") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 5 || slices.ContainsFunc(cells, func(cell string) bool { return strings.TrimSpace(cell) == "" }) {
			t.Errorf("limits.md:%d: a row has five cells that are not empty: limit, default, set by, answer, test", i+1)
			continue
		}
		if !testName.MatchString(cells[4]) {
			t.Errorf("limits.md:%d: %s has no test", i+1, strings.TrimSpace(cells[0]))
		}
		setBy := cells[2]
		for _, flag := range flagName.FindAllStringSubmatch(setBy, -1) {
			if !strings.Contains(textOf(t, all, "server/flags.go"), `"`+flag[1]+`"`) {
				t.Errorf("limits.md:%d: there is no flag -%s", i+1, flag[1])
			}
		}
		for _, option := range optionName.FindAllStringSubmatch(setBy, -1) {
			if !hasOption(all, option[1]) {
				t.Errorf("limits.md:%d: there is no option actors.%s", i+1, option[1])
			}
		}
		if strings.TrimSpace(setBy) != "–" && !flagName.MatchString(setBy) && !optionName.MatchString(setBy) {
			t.Errorf("limits.md:%d: %s is set by no flag and no option", i+1, strings.TrimSpace(cells[0]))
		}
	}
	if rows == 0 {
		t.Error("the page has no limits")
	}
}

func testFunctions(all []file) map[string]bool {
	names := make(map[string]bool)
	for _, f := range all {
		if f.is(".go") && f.test() {
			for _, found := range testFunction.FindAllSubmatch(f.text, -1) {
				names[string(found[1])] = true
			}
		}
	}
	return names
}

func hasOption(all []file, name string) bool {
	return slices.ContainsFunc(all, func(f file) bool {
		return strings.HasPrefix(f.path, "actors/") &&
			(strings.Contains(string(f.text), "\nfunc "+name+"(") || strings.Contains(string(f.text), "\nvar _ Option = "+name+"{}"))
	})
}

func textOf(t *testing.T, all []file, path string) string {
	t.Helper()
	i := slices.IndexFunc(all, func(f file) bool { return f.path == path })
	if i < 0 {
		t.Fatalf("there is no %s", path)
	}
	return string(all[i].text)
}
