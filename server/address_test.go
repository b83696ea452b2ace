// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/internal/wire"
)

func TestParseURLAddress(t *testing.T) {
	t.Parallel()
	const method = "/@/a.v1.A/M"
	for path, want := range map[string]urlAddress{
		"/actors/default" + method:          {namespace: "default", key: "", procedure: "/a.v1.A/M"},
		"/actors/default/x" + method:        {namespace: "default", key: "x", procedure: "/a.v1.A/M"},
		"/actors/acme/org/general" + method: {namespace: "acme", key: "org/general", procedure: "/a.v1.A/M"},
		"/actors/default/a%2Fb" + method:    {namespace: "default", key: "a%2Fb", procedure: "/a.v1.A/M"},
		"/actors/default/%40/b" + method:    {namespace: "default", key: "%40/b", procedure: "/a.v1.A/M"},
		"/actors/default/~" + method:        {namespace: "default", key: "~", procedure: "/a.v1.A/M"},
		"/actors/default/~..%2f" + method:   {},
		"/actors/default/%61" + method:      {namespace: "default", key: "a", procedure: "/a.v1.A/M"},
		"/actors/default/~~" + method:       {namespace: "default", key: "~~", procedure: "/a.v1.A/M"},
		"/actors/default/x/@/a%2Ev1.A/M":    {namespace: "default", key: "x", procedure: "/a.v1.A/M"},
		"/actors/" + method[1:]:             {},
		"/actors//x" + method:               {},
		"/actors/default/" + method:         {},
		"/actors/default//x" + method:       {},
		"/actors/default/x/" + method:       {},
		"/actors/default/a+b" + method:      {},
		"/actors/default/x/@/a.v1.A":        {},
		"/actors/default/x/@/a.v1.A/":       {},
		"/actors/default/x/@/a.v1.A/M/more": {},
		"/actors/default/x/@/a%2Fb/M":       {},
		"/actors/default/x/@/a.v1.A/M%2":    {},
		"/actors/default/x":                 {},
		"/elsewhere":                        {},
	} {
		got, err := parseURLAddress(path)
		if (err != nil) != (want.procedure == "") {
			t.Errorf("%s: error %v", path, err)
		}
		if err == nil && got != want {
			t.Errorf("%s: got %+v, want %+v", path, got, want)
		}
	}
}

func TestParseRawURLAddress(t *testing.T) {
	t.Parallel()
	for rest, want := range map[string][2]string{
		"http":             {"/", "/"},
		"http/":            {"/", "/"},
		"http/me":          {"/me", "/me"},
		"http/a%2Fb/@/c/":  {"/a/b/@/c/", "/a%2Fb/@/c/"},
		"http//x/../y":     {"//x/../y", "//x/../y"},
		"http/http":        {"/http", "/http"},
		"http/caf%C3%A9":   {"/café", "/caf%C3%A9"},
		"http/%2e%2E/http": {"/../http", "/%2e%2E/http"},
	} {
		path := "/actors/acme/org/a%2Fb/@/a.v1.A/" + rest
		got, err := parseURLAddress(path)
		if wanted := (urlAddress{namespace: "acme", key: "org/a%2Fb", service: "a.v1.A", path: want[0], escapedPath: want[1]}); err != nil || got != wanted {
			t.Errorf("%s: got %+v, %v", rest, got, err)
		}
		if !isRaw(path) {
			t.Errorf("%s is not raw", rest)
		}
	}
	for _, path := range []string{"/actors/a/@/a.v1.A/http%2", "/actors/a/@/a.v1.A/http/%"} {
		if _, err := parseURLAddress(path); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
	for _, path := range []string{"/actors/a/@/a.v1.A/httpx", "/x/@/a.v1.A/http/", "/actors/http/@/a.v1.A/M", "/actors/a"} {
		if isRaw(path) {
			t.Errorf("%s is raw", path)
		}
	}
}

// FuzzURLAddress holds that a path that is understood names one key, and that the
// canonical path of that key is understood as the same address.
func FuzzURLAddress(f *testing.F) {
	for _, seed := range []string{
		"/actors/default/@/a.v1.A/M", "/actors/default/a%2Fb/@/a.v1.A/M", "/actors/d/~/@/a/b", "/actors/default//@/a/b",
		"/actors/default/x/@/y/@/a.v1.A/M", "/actors/%64efault/%40/@/a/b", "/actors/default/%zz/@/a/b", "/actors/", "/actors/default/a/@/a.v1.A/http/x%2Fy",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		a, err := parseURLAddress(path)
		if err != nil {
			if connect.CodeOf(err) == connect.CodeUnknown {
				t.Fatalf("%q: an untyped error: %v", path, err)
			}
			return
		}
		canonical, err := wire.CanonicalKey(a.key)
		if err != nil || canonical != a.key {
			t.Fatalf("%q: the key %q is not canonical: %v", path, a.key, err)
		}
		if strings.ContainsAny(a.namespace, "/%@") || wire.CheckNamespace(a.namespace) != nil {
			return // refused by the next step
		}
		if a.procedure == "" {
			a.procedure, a.escapedPath = "/"+a.service+"/"+rawSegment+a.escapedPath, "" // as the path has it
			if a.service == "" || strings.ContainsAny(a.service, "%@/?#") {
				return
			}
			again, err := parseURLAddress("/actors/" + a.namespace + strings.TrimSuffix("/"+a.key, "/") + "/@" + a.procedure)
			if err != nil || again.key != a.key || again.service != a.service || again.path != a.path {
				t.Fatalf("%q: %+v, and by its canonical path %+v, %v", path, a, again, err)
			}
			return
		}
		service, method, _ := strings.Cut(a.procedure[1:], "/")
		if strings.ContainsAny(service+method, "%@/") || method == "http" {
			return
		}
		key := a.key
		if key != "" {
			key = "/" + key
		}
		again, err := parseURLAddress("/actors/" + a.namespace + key + "/@" + a.procedure)
		if err != nil || again != a {
			t.Fatalf("%q: %+v, and by its canonical path %+v, %v", path, a, again, err)
		}
	})
}

func TestURLAddressQuery(t *testing.T) {
	t.Parallel()
	request := func(target string, header http.Header) (*http.Request, error) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		maps.Copy(r.Header, header)
		address, err := parseURLAddress(r.URL.EscapedPath())
		if err != nil {
			return nil, err
		}
		return withURLAddress(r, &address)
	}
	r, err := request("/actors/default/a/@/a.v1.A/M?resume=c1&events=a,b&resolve=get&params=-_8&message=%7B%7D", nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.URL.Path != "/a.v1.A/M" || r.Header.Get("Actor-Resume") != "c1" || r.Header.Get("Actor-Events") != "a,b" || r.Header.Get("Actor-Resolve") != "get" ||
		r.Header.Get("Actor-Params-Bin") != "+/8" || r.Header.Get("Actor-Key") != "a" || r.Header.Get("Actor-Namespace") != "default" {
		t.Errorf("got %s %v", r.URL, r.Header)
	}
	for target, header := range map[string]http.Header{
		"/actors/default/a/@/a.v1.A/M?resume=1&resume=2": nil,
		"/actors/default/a/@/a.v1.A/M?params=!":          nil,
		"/actors/default/a/@/a.v1.A/M?resume=1":          {"Actor-Resume": {"2"}},
		"/actors/default/a/@/a.v1.A/M":                   {"Actor-Id": {"x"}},
		"/actors/default/a/@/a.v1.A/M?resume=%zz":        nil,
	} {
		if _, err := request(target, header); err == nil {
			t.Errorf("%s %v: no error", target, header)
		}
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	fill := func(byGet bool, pairs ...string) (*actors.Call, error) {
		var header connect.Header
		for pair := range slices.Chunk(pairs, 2) {
			header.Add(pair[0], pair[1])
		}
		call := &actors.Call{Method: &actors.Method{Type: "a.v1.A"}}
		m := readMetadata(&header)
		return call, m.fill(call, nil, newNamespaces([]string{"default", "acme"}), byGet)
	}
	call, err := fill(false, "Actor-Key", "a/%62", "Actor-Namespace", "acme", "Actor-Input-Bin", "", "Actor-Params-Bin", "AQI=",
		"Last-Event-ID", "c9", "Actor-Conn", "id.secret", "Authorization", "x", "Accept", "y", "Idempotency-Key", "k")
	if err != nil {
		t.Fatal(err)
	}
	if call.Address.Key != "a/b" || call.Address.Namespace != "acme" || call.Address.Type != "a.v1.A" || call.Input == nil || len(call.Input) != 0 ||
		string(call.Params) != "\x01\x02" || call.Resume != "c9" || call.Conn != "id.secret" || call.Resolve != actors.GetOrCreate {
		t.Errorf("got %+v", call)
	}
	// An EventSource that connects again sends its newest id, and the cursor that its
	// URL began with.
	if call, err := fill(false, "Actor-Resume", "c1", "Last-Event-ID", "c9"); err != nil || call.Resume != "c9" {
		t.Errorf("an older cursor and a newer one: %q, %v", call.Resume, err)
	}
	for _, c := range []struct {
		byGet   bool
		resolve string
		want    actors.Resolve
		fails   bool
	}{
		{false, "", actors.GetOrCreate, false},
		{false, "create", actors.Create, false},
		{false, "get", actors.Get, false},
		{true, "", actors.Get, false},
		{true, "get-or-create", actors.Get, false},
		{true, "create", 0, true},
	} {
		call, err := fill(c.byGet, "Actor-Resolve", c.resolve)
		if (err != nil) != c.fails || err == nil && call.Resolve != c.want {
			t.Errorf("%+v: got %v, %v", c, call.Resolve, err)
		}
	}
	if _, err := fill(false, "Actor-Namespace", "elsewhere"); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("a namespace that is not listed: %v", err)
	}
}

func TestMetadataLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit  int
		reason string
	}{
		"Actor-Resume":    {maxResumeText, "bad_actor_resume"},
		"Last-Event-Id":   {maxResumeText, "bad_actor_resume"},
		"Actor-Conn":      {maxConnText, "bad_actor_conn"},
		"Idempotency-Key": {wire.MaxIdempotencyKey, "bad_idempotency_key"},
	} {
		fill := func(size int) error {
			var header connect.Header
			header.Set(name, strings.Repeat("x", size))
			m := readMetadata(&header)
			return m.fill(&actors.Call{Method: &actors.Method{Type: "a.v1.A"}}, nil, newNamespaces([]string{"default"}), false)
		}
		if err := fill(c.limit); err != nil {
			t.Errorf("%s at its limit: %v", name, err)
		}
		assertError(t, fill(c.limit+1), connect.CodeInvalidArgument, c.reason, errorDomain)
	}
}
