// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"errors"
	"strconv"
	"strings"

	"github.com/troupe-dev/troupe/actors/store"
)

// A cursor is a place in the event log of one incarnation, as text that is opaque
// to clients:
//
//	{actor id}-{generation of the store}-{number of the event before it}
//
// with both numbers in base 36. A store that was restored from a backup is given a new
// generation, so a cursor never means another event than the one it was made for.

// cursorPrefix is what the cursors of one incarnation have in common.
func cursorPrefix(id store.ID, generation uint64) string {
	return id.String() + "-" + strconv.FormatUint(generation, 36) + "-"
}

// cursorText is the cursor after the event with the given number.
func cursorText(prefix string, number uint64) string {
	return prefix + strconv.FormatUint(number, 36)
}

var errBadCursor = errors.New("not a cursor of this server")

// parseCursor is the inverse of cursorText. It accepts nothing that cursorText
// does not make.
func parseCursor(text string) (prefix string, number uint64, err error) {
	cut := strings.LastIndexByte(text, '-') + 1
	id, generation, ok := strings.Cut(text[:max(cut-1, 0)], "-")
	if !ok {
		return "", 0, errBadCursor
	}
	if _, err := store.ParseID(id); err != nil {
		return "", 0, errBadCursor
	}
	if _, err := parseBase36(generation); err != nil {
		return "", 0, err
	}
	number, err = parseBase36(text[cut:])
	return text[:cut], number, err
}

// parseBase36 accepts the one way in which [strconv.FormatUint] writes a number.
func parseBase36(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 36, 64)
	if err != nil || strconv.FormatUint(n, 36) != text {
		return 0, errBadCursor
	}
	return n, nil
}
