// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

// maxKeyText bounds the text of a key: every byte escaped, and a mark and a
// separator for every segment. Longer texts are not even looked at.
const maxKeyText = 3*MaxKeyBytes + 2*MaxSegments

// EncodeKey returns the canonical text of a key: its segments joined by "/",
// every byte outside A-Z a-z 0-9 - . _ ~ percent-encoded, and one "~" put in
// front of a segment that is empty, "." or ".." or begins with "~". The encoding
// is injective and survives URLs. The empty key is the empty string.
func EncodeKey(segments []string) (string, error) {
	if err := checkKey(segments); err != nil {
		return "", err
	}
	if len(segments) == 1 && isPlain(segments[0]) {
		return segments[0], nil
	}
	var b strings.Builder
	for i, segment := range segments {
		if i > 0 {
			b.WriteByte('/')
		}
		if needsTilde(segment) {
			b.WriteByte('~')
		}
		for j := range len(segment) {
			if c := segment[j]; isUnreserved(c) {
				b.WriteByte(c)
			} else {
				b.WriteByte('%')
				b.WriteByte(hexDigits[c>>4])
				b.WriteByte(hexDigits[c&15])
			}
		}
	}
	return b.String(), nil
}

// DecodeKey is the inverse of [EncodeKey]. It takes any valid percent-encoding,
// canonical or not.
func DecodeKey(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxKeyText {
		return nil, fmt.Errorf("the text of a key has at most %d bytes, this one has %d", maxKeyText, len(text))
	}
	if n := strings.Count(text, "/") + 1; n > MaxSegments {
		return nil, fmt.Errorf("a key has at most %d segments, this one has %d", MaxSegments, n)
	}
	parts := strings.Split(text, "/")
	segments := make([]string, len(parts))
	for i, part := range parts {
		segment, err := decodeSegment(part)
		if err != nil {
			return nil, err
		}
		segments[i] = segment
	}
	if err := checkKey(segments); err != nil {
		return nil, err
	}
	return segments, nil
}

// CanonicalKey checks the text of a key and returns its canonical form.
func CanonicalKey(text string) (string, error) {
	if isCanonical(text) {
		return text, nil
	}
	segments, err := DecodeKey(text)
	if err != nil {
		return "", err
	}
	return EncodeKey(segments)
}

// isCanonical is the fast path for keys that need no decoding at all. It answers
// false for some canonical keys.
func isCanonical(text string) bool {
	if text == "" {
		return true
	}
	if len(text) > MaxKeyBytes {
		return false
	}
	segments, start := 1, 0
	for i := range len(text) {
		if c := text[i]; c == '/' {
			if !plainSegment(text[start:i]) {
				return false
			}
			segments, start = segments+1, i+1
		} else if !isUnreserved(c) {
			return false
		}
	}
	return segments <= MaxSegments && plainSegment(text[start:])
}

// plainSegment reports whether a segment of unreserved bytes stands for itself.
func plainSegment(segment string) bool {
	return len(segment) <= MaxSegmentBytes && !needsTilde(segment)
}

func isPlain(segment string) bool {
	for i := range len(segment) {
		if !isUnreserved(segment[i]) {
			return false
		}
	}
	return !needsTilde(segment)
}

func needsTilde(segment string) bool {
	return segment == "" || segment == "." || segment == ".." || segment[0] == '~'
}

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

func decodeSegment(part string) (string, error) {
	if part == "" {
		return "", errors.New("a key segment is empty; an empty segment is written ~")
	}
	raw := part
	if len(raw) > 3*MaxSegmentBytes+1 {
		return "", fmt.Errorf("a key segment has at most %d bytes, one has more", MaxSegmentBytes)
	}
	if part[0] == '~' {
		part = part[1:]
	}
	if !strings.ContainsRune(part, '%') {
		for i := range len(part) {
			if !isUnreserved(part[i]) {
				return "", fmt.Errorf("key segment %q has the byte 0x%02X, which must be percent-encoded", raw, part[i])
			}
		}
		return untilde(raw, part)
	}
	decoded := make([]byte, 0, len(part))
	for i := 0; i < len(part); i++ {
		switch c := part[i]; {
		case c == '%':
			if i+2 >= len(part) || unhex(part[i+1]) < 0 || unhex(part[i+2]) < 0 {
				return "", fmt.Errorf("key segment %q has a %% that two hexadecimal digits do not follow", raw)
			}
			decoded = append(decoded, byte(unhex(part[i+1])<<4|unhex(part[i+2])))
			i += 2
		case isUnreserved(c):
			decoded = append(decoded, c)
		default:
			return "", fmt.Errorf("key segment %q has the byte 0x%02X, which must be percent-encoded", raw, c)
		}
	}
	return untilde(raw, string(decoded))
}

// untilde checks that the leading ~ of raw was there if and only if the decoded
// segment needs one, so that no two texts of unreserved bytes name one key.
func untilde(raw, decoded string) (string, error) {
	switch marked := raw[0] == '~'; {
	case marked && !needsTilde(decoded):
		return "", fmt.Errorf("key segment %q begins with ~, which only marks a segment that is empty, \".\" or \"..\" or begins with ~", raw)
	case !marked && needsTilde(decoded):
		return "", fmt.Errorf("key segment %q must be written with one ~ in front", raw)
	}
	return decoded, nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func checkKey(segments []string) error {
	if len(segments) > MaxSegments {
		return fmt.Errorf("a key has at most %d segments, this one has %d", MaxSegments, len(segments))
	}
	total := 0
	for i, segment := range segments {
		if len(segment) > MaxSegmentBytes {
			return fmt.Errorf("a key segment has at most %d bytes, segment %d has %d", MaxSegmentBytes, i, len(segment))
		}
		if !utf8.ValidString(segment) {
			return fmt.Errorf("key segment %d is not UTF-8", i)
		}
		if strings.ContainsFunc(segment, unicode.IsControl) {
			return fmt.Errorf("key segment %d has a control character", i)
		}
		total += len(segment)
	}
	if total > MaxKeyBytes {
		return fmt.Errorf("a key has at most %d bytes, this one has %d", MaxKeyBytes, total)
	}
	return nil
}

// CheckNamespace reports why text cannot be a namespace.
func CheckNamespace(text string) error {
	if len(text) == 0 || len(text) > MaxNamespaceBytes {
		return fmt.Errorf("a namespace has 1 to %d characters, this one has %d", MaxNamespaceBytes, len(text))
	}
	for i := range len(text) {
		c := text[i]
		letterOrDigit := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letterOrDigit && (i == 0 || c != '.' && c != '_' && c != '-') {
			return fmt.Errorf("a namespace matches [a-z0-9][a-z0-9._-]*, and %q does not", text)
		}
	}
	return nil
}
