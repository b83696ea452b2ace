// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var promiseRow = regexp.MustCompile(`(?m)^\| P(\d+) \|(.*)$`)

// TestEveryPromiseHasATest holds that the page of promises has a row for each that one
// process can keep, and that a row which does not say "not yet" names a test with the
// promise's number.
func TestEveryPromiseHasATest(t *testing.T) {
	t.Parallel()
	rows := make(map[int]string)
	for _, found := range promiseRow.FindAllStringSubmatch(textOf(t, files(t), "docs/semantics/README.md"), -1) {
		number, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := rows[number]; twice {
			t.Errorf("P%d has two rows", number)
		}
		rows[number] = found[2]
	}
	for number := 8; number <= 50; number++ {
		row, ok := rows[number]
		cells := strings.Split(row, "|")
		switch {
		case number == 40: // of several nodes
		case !ok:
			t.Errorf("P%d has no row", number)
		case len(cells) != 5 || strings.TrimSpace(cells[0]) == "" || strings.TrimSpace(cells[2]) == "":
			t.Errorf("P%d: a row says what we promise, the tests, the status and the page", number)
		case strings.HasPrefix(strings.TrimSpace(cells[2]), "not yet"):
		case !strings.Contains(cells[1], fmt.Sprintf("`TestP%d_", number)):
			t.Errorf("P%d names no test that has its number", number)
		}
	}
}
