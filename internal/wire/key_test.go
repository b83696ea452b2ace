// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/troupe-dev/troupe/internal/wire"
	"pgregory.net/rapid"
)

// keys pairs segments with their one canonical text.
var keys = []struct {
	name     string
	segments []string
	text     string
}{
	{"empty key", nil, ""},
	{"one plain", []string{"general"}, "general"},
	{"two plain", []string{"acme", "general"}, "acme/general"},
	{"unreserved", []string{"AZaz09-._"}, "AZaz09-._"},
	{"one empty", []string{""}, "~"},
	{"two empty", []string{"", ""}, "~/~"},
	{"empty in the middle", []string{"a", "", "b"}, "a/~/b"},
	{"dot", []string{"."}, "~."},
	{"two dots", []string{".."}, "~.."},
	{"three dots", []string{"..."}, "..."},
	{"dot in front", []string{".a"}, ".a"},
	{"tilde", []string{"~"}, "~~"},
	{"two tildes", []string{"~~"}, "~~~"},
	{"tilde in front", []string{"~a"}, "~~a"},
	{"tilde and dot", []string{"~."}, "~~."},
	{"tilde inside", []string{"a~"}, "a~"},
	{"slash", []string{"a/b"}, "a%2Fb"},
	{"only a slash", []string{"/"}, "%2F"},
	{"at sign", []string{"@"}, "%40"},
	{"percent", []string{"100%"}, "100%25"},
	{"looks encoded", []string{"%2F"}, "%252F"},
	{"space and plus", []string{"a b+c"}, "a%20b%2Bc"},
	{"two bytes", []string{"é"}, "%C3%A9"},
	{"four bytes", []string{"🦊"}, "%F0%9F%A6%8A"},
	{"replacement character", []string{"\uFFFD"}, "%EF%BF%BD"},
	{"tilde and escape", []string{"~é"}, "~~%C3%A9"},
	{"comma", []string{"a,b"}, "a%2Cb"},
	{"longest segment", []string{strings.Repeat("x", 128)}, strings.Repeat("x", 128)},
	{"longest segment, escaped", []string{strings.Repeat("/", 128)}, strings.Repeat("%2F", 128)},
	{"most segments", slices.Repeat([]string{"x"}, 32), strings.Repeat("x/", 31) + "x"},
	{"most segments, empty", make([]string, 32), strings.Repeat("~/", 31) + "~"},
	{"most bytes", slices.Repeat([]string{strings.Repeat("x", 32)}, 32), strings.TrimSuffix(strings.Repeat(strings.Repeat("x", 32)+"/", 32), "/")},
	{"most bytes, escaped", slices.Repeat([]string{"~" + strings.Repeat("/", 31)}, 32), strings.TrimSuffix(strings.Repeat("~~"+strings.Repeat("%2F", 31)+"/", 32), "/")},
}

func TestKeys(t *testing.T) {
	t.Parallel()
	for _, test := range keys {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			text, err := wire.EncodeKey(test.segments)
			if err != nil || text != test.text {
				t.Errorf("EncodeKey(%q) = %q, %v; want %q", test.segments, text, err, test.text)
			}
			segments, err := wire.DecodeKey(test.text)
			if err != nil || !slices.Equal(segments, test.segments) {
				t.Errorf("DecodeKey(%q) = %q, %v; want %q", test.text, segments, err, test.segments)
			}
			canonical, err := wire.CanonicalKey(test.text)
			if err != nil || canonical != test.text {
				t.Errorf("CanonicalKey(%q) = %q, %v; want itself", test.text, canonical, err)
			}
		})
	}
}

// TestOtherSpellings decodes texts that are not canonical but that name a key all
// the same.
func TestOtherSpellings(t *testing.T) {
	t.Parallel()
	for text, canonical := range map[string]string{
		"%61":       "a",
		"a%2fb":     "a%2Fb",
		"%c3%a9":    "%C3%A9",
		"~%2E":      "~.",
		"~%2e%2E":   "~..",
		"~%7E":      "~~",
		"a/%62/c":   "a/b/c",
		"%2E%2E%2E": "...",
	} {
		got, err := wire.CanonicalKey(text)
		if err != nil || got != canonical {
			t.Errorf("CanonicalKey(%q) = %q, %v; want %q", text, got, err, canonical)
		}
	}
}

func TestBadTexts(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty segment":            "a//b",
		"slash in front":           "/a",
		"slash behind":             "a/",
		"only a slash":             "/",
		"bare dot":                 ".",
		"bare dots":                "a/..",
		"escaped dot":              "%2E",
		"escaped dots":             "%2e.",
		"escaped tilde":            "%7Ea",
		"tilde without need":       "~a",
		"tilde before three dots":  "~...",
		"short escape":             "a%2",
		"escape at the end":        "a%",
		"escape without digits":    "%zz",
		"escape with a sign":       "%+1",
		"space":                    "a b",
		"space behind":             "a ",
		"plus":                     "a+b",
		"at sign":                  "@",
		"raw UTF-8":                "é",
		"question mark":            "a?b",
		"not UTF-8":                "%FF",
		"overlong":                 "%C0%AF",
		"surrogate":                "%ED%A0%80",
		"NUL":                      "%00",
		"line feed":                "%0A",
		"delete":                   "%7F",
		"C1 control":               "%C2%85",
		"raw line feed":            "a\nb",
		"long segment":             strings.Repeat("x", 129),
		"long segment, escaped":    strings.Repeat("%2F", 129),
		"many segments":            strings.Repeat("x/", 32) + "x",
		"many bytes":               strings.TrimSuffix(strings.Repeat(strings.Repeat("x", 114)+"/", 9), "/"),
		"a megabyte":               strings.Repeat("x", 1<<20),
		"a megabyte of plus":       strings.Repeat("+", 1<<20),
		"3,000 plus":               strings.Repeat("+", 3000),
		"a megabyte of escapes":    strings.Repeat("%41", 1<<18),
		"a megabyte of separators": strings.Repeat("/", 1<<20),
	} {
		for _, f := range []struct {
			name string
			call func(string) error
		}{
			{"DecodeKey", func(s string) error { _, err := wire.DecodeKey(s); return err }},
			{"CanonicalKey", func(s string) error { _, err := wire.CanonicalKey(s); return err }},
		} {
			err := f.call(text)
			if err == nil {
				t.Errorf("%s: %s took %.40q", name, f.name, text)
			} else if len(err.Error()) > 600 {
				t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
			}
		}
	}
}

func TestBadSegments(t *testing.T) {
	t.Parallel()
	for name, segments := range map[string][]string{
		"long segment":  {strings.Repeat("x", 129)},
		"many segments": make([]string, 33),
		"many bytes":    slices.Repeat([]string{strings.Repeat("x", 114)}, 9),
		"not UTF-8":     {"a", "\xff"},
		"cut UTF-8":     {"\xc3"},
		"NUL":           {"\x00"},
		"line feed":     {"a\n"},
		"delete":        {"\x7f"},
		"C1 control":    {"\u0085"},
	} {
		if text, err := wire.EncodeKey(segments); err == nil {
			t.Errorf("%s: EncodeKey(%q) = %q", name, segments, text)
		}
	}
}

// segmentsGen draws keys that keep the limits, rich in the characters that the
// encoding treats in a special way.
func segmentsGen() *rapid.Generator[[]string] {
	special := rapid.SampledFrom([]string{"", ".", "..", "~", "~.", "~~", "/", "%", "%2F", "@", " ", "+", "é", "🦊"})
	text := rapid.StringOfN(rapid.OneOf(
		rapid.RuneFrom([]rune("./~%aZ9-_@:?#&=+ \"'\\é🦊")),
		rapid.Rune().Filter(func(r rune) bool { return !isControl(r) }),
	), 0, 20, 128)
	return rapid.SliceOfN(rapid.OneOf(special, text), 0, 32).Filter(func(segments []string) bool {
		total := 0
		for _, s := range segments {
			total += len(s)
		}
		return total <= 1024
	})
}

func isControl(r rune) bool { return r < 0x20 || 0x7f <= r && r < 0xa0 }

// TestEncodeDecode: decoding undoes encoding, what comes out is canonical, and it
// survives being a URL path.
func TestEncodeDecode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		segments := segmentsGen().Draw(t, "segments")
		text, err := wire.EncodeKey(segments)
		if err != nil {
			t.Fatalf("EncodeKey(%q): %v", segments, err)
		}
		back, err := wire.DecodeKey(text)
		if err != nil || !slices.Equal(back, segments) {
			t.Fatalf("DecodeKey(%q) = %q, %v; want %q", text, back, err, segments)
		}
		canonical, err := wire.CanonicalKey(text)
		if err != nil || canonical != text {
			t.Fatalf("CanonicalKey(%q) = %q, %v", text, canonical, err)
		}
		parsed, err := url.Parse("http://host/actors/default/" + text + "/@/chat.v1.ChatRoom/Send")
		if err != nil {
			t.Fatalf("%q does not parse in a URL: %v", text, err)
		}
		cleaned := parsed.JoinPath().EscapedPath()
		if want := strings.TrimSuffix("/actors/default/"+text, "/") + "/@/chat.v1.ChatRoom/Send"; cleaned != want {
			t.Fatalf("the URL path became %q, want %q", cleaned, want)
		}
	})
}

// TestCanonicalIsInjective: two keys have the same text only if they are the same,
// and any spelling that decodes leads to the text of its key.
func TestCanonicalIsInjective(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := segmentsGen().Draw(t, "a")
		b := rapid.OneOf(segmentsGen(), rapid.Just(a), neighbours(a)).Draw(t, "b")
		textA, errA := wire.EncodeKey(a)
		textB, errB := wire.EncodeKey(b)
		if errA != nil || errB != nil {
			t.Skip("a neighbour breaks a limit")
		}
		if same := slices.Equal(a, b); same != (textA == textB) {
			t.Fatalf("%q and %q have the texts %q and %q", a, b, textA, textB)
		}
		spelled := respell(t, textA)
		canonical, err := wire.CanonicalKey(spelled)
		if err != nil || canonical != textA {
			t.Fatalf("CanonicalKey(%q) = %q, %v; want %q", spelled, canonical, err, textA)
		}
	})
}

// neighbours draws keys that a careless encoding would confuse with segments.
func neighbours(segments []string) *rapid.Generator[[]string] {
	return rapid.Custom(func(t *rapid.T) []string {
		text, err := wire.EncodeKey(segments)
		if err != nil {
			t.Fatal(err)
		}
		switch rapid.IntRange(0, 4).Draw(t, "way") {
		case 0:
			return []string{strings.Join(segments, "/")}
		case 1:
			return strings.Split(text, "/")
		case 2:
			return append(slices.Clone(segments), "")
		case 3:
			return append([]string{""}, segments...)
		}
		return slices.DeleteFunc(slices.Clone(segments), func(s string) bool { return s == "" })
	})
}

// respell escapes bytes that need it not and writes escapes in lower case, without
// touching the first ~ of a segment, which is a mark and not a character.
func respell(t *rapid.T, text string) string {
	var b strings.Builder
	start := true
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '/':
			b.WriteByte(c)
			start = true
			continue
		case c == '%':
			if rapid.Bool().Draw(t, "lower") {
				b.WriteString(strings.ToLower(text[i : i+3]))
			} else {
				b.WriteString(text[i : i+3])
			}
			i += 2
		case start && c == '~', !rapid.Bool().Draw(t, "escape"):
			b.WriteByte(c)
		default:
			const digits = "0123456789abcdef"
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
		start = false
	}
	return b.String()
}

// FuzzDecodeKey: nothing panics; what decodes keeps the limits, encodes again, and
// has a canonical text that is a fixed point.
func FuzzDecodeKey(f *testing.F) {
	for _, test := range keys {
		f.Add(test.text)
	}
	for _, text := range []string{"~", "~a", "%", "%2", "%2F", "%2e", "~%2e", "%7e", "a//b", "/", "~/~", "%ff", "%00", "é"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		segments, err := wire.DecodeKey(text)
		canonical, canonicalErr := wire.CanonicalKey(text)
		if (err == nil) != (canonicalErr == nil) {
			t.Fatalf("DecodeKey(%q): %v, but CanonicalKey: %v", text, err, canonicalErr)
		}
		if err != nil {
			return
		}
		total := 0
		for _, s := range segments {
			total += len(s)
			if len(s) > wire.MaxSegmentBytes {
				t.Fatalf("%q has a segment of %d bytes", text, len(s))
			}
		}
		if len(segments) > wire.MaxSegments || total > wire.MaxKeyBytes {
			t.Fatalf("%q has %d segments and %d bytes", text, len(segments), total)
		}
		encoded, err := wire.EncodeKey(segments)
		if err != nil || encoded != canonical {
			t.Fatalf("EncodeKey(%q) = %q, %v; want %q", segments, encoded, err, canonical)
		}
		again, err := wire.DecodeKey(canonical)
		if err != nil {
			t.Fatalf("the canonical text %q of %q does not decode: %v", canonical, text, err)
		}
		if diff := cmp.Diff(segments, again); diff != "" {
			t.Fatalf("%q and its canonical text %q differ:\n%s", text, canonical, diff)
		}
		if fixed, err := wire.CanonicalKey(canonical); err != nil || fixed != canonical {
			t.Fatalf("CanonicalKey(%q) = %q, %v", canonical, fixed, err)
		}
	})
}

func TestCheckNamespace(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"default", "a", "0", "a.b_c-d", strings.Repeat("x", 64)} {
		if err := wire.CheckNamespace(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "-a", "_a", "A", "a/b", "a b", "a\n", "é", strings.Repeat("x", 65)} {
		if err := wire.CheckNamespace(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func BenchmarkCanonicalKey(b *testing.B) {
	for name, text := range map[string]string{"plain": "acme/general", "escaped": "acme/a%2Fb"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.CanonicalKey(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
