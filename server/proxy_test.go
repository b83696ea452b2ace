// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	trusted, err := newProxies([]string{"10.0.0.0/8", "192.0.2.7", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		peer, want              string
		forwarded, forwardedFor []string
	}{
		"nobody who is trusted":           {peer: "198.51.100.1", forwardedFor: []string{"203.0.113.9"}, want: "198.51.100.1"},
		"a proxy that says nothing":       {peer: "10.0.0.1", want: "10.0.0.1"},
		"one proxy":                       {peer: "10.0.0.1", forwardedFor: []string{"203.0.113.9"}, want: "203.0.113.9"},
		"a single address that is listed": {peer: "192.0.2.7", forwardedFor: []string{"203.0.113.9"}, want: "203.0.113.9"},
		"a proxy over IPv6":               {peer: "fd00::1", forwardedFor: []string{"2001:db8::5"}, want: "2001:db8::5"},
		"what the client invented":        {peer: "10.0.0.1", forwardedFor: []string{"1.1.1.1, 203.0.113.9"}, want: "203.0.113.9"},
		"two proxies, two lines":          {peer: "10.0.0.1", forwardedFor: []string{"1.1.1.1, 203.0.113.9", "10.9.9.9"}, want: "203.0.113.9"},
		"proxies all the way":             {peer: "10.0.0.1", forwardedFor: []string{"10.0.0.3, 10.0.0.2"}, want: "10.0.0.3"},
		"with a port":                     {peer: "10.0.0.1", forwardedFor: []string{"203.0.113.9:4711"}, want: "203.0.113.9"},
		"a mapped address":                {peer: "::ffff:10.0.0.1", forwardedFor: []string{"::ffff:203.0.113.9"}, want: "203.0.113.9"},
		"someone unknown":                 {peer: "10.0.0.1", forwardedFor: []string{"203.0.113.9, unknown, 10.0.0.2"}, want: "10.0.0.2"},
		"an empty hop":                    {peer: "10.0.0.1", forwardedFor: []string{"203.0.113.9,"}, want: "10.0.0.1"},
		"Forwarded":                       {peer: "10.0.0.1", forwarded: []string{`for=1.1.1.1, FOR="[2001:db8::5]:4711";proto=https;by="a,b;for=9.9.9.9"`}, want: "2001:db8::5"},
		"Forwarded without for":           {peer: "10.0.0.1", forwarded: []string{`for=1.1.1.1, proto=https`}, want: "10.0.0.1"},
		"Forwarded that hides":            {peer: "10.0.0.1", forwarded: []string{`for=_hidden`}, want: "10.0.0.1"},
		"both, alike":                     {peer: "10.0.0.1", forwarded: []string{"for=203.0.113.9"}, forwardedFor: []string{"203.0.113.9"}, want: "203.0.113.9"},
		"both, one of them invented":      {peer: "10.0.0.1", forwarded: []string{"for=1.1.1.1"}, forwardedFor: []string{"203.0.113.9"}, want: "10.0.0.1"},
	} {
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), loopbackKey{}, true), http.MethodPost, "/", nil)
		r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(c.peer), 9).String()
		r.Header["Forwarded"], r.Header["X-Forwarded-For"] = c.forwarded, c.forwardedFor
		if c.forwarded == nil {
			delete(r.Header, "Forwarded")
		}
		if c.forwardedFor == nil {
			delete(r.Header, "X-Forwarded-For")
		}
		revealed := trusted.reveal(r)
		got := netip.MustParseAddrPort(revealed.RemoteAddr).Addr().Unmap().String()
		if got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
		if named := c.forwarded != nil || c.forwardedFor != nil; fromLoopback(revealed.Context()) == (named && trusted.trust(netip.MustParseAddr(c.peer).Unmap())) {
			t.Errorf("%s: the client counts as local: %t", name, fromLoopback(revealed.Context()))
		}
	}
	var nobody proxies
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	if nobody.reveal(r) != r {
		t.Error("without trusted proxies a request is changed")
	}
	if _, err := newProxies([]string{"10.0.0.0/99"}); err == nil {
		t.Error("a network that is none is accepted")
	}
}

// TestLimitsBehindAProxy holds that the limits by address are those of the clients
// behind a proxy that is trusted, and that a client cannot choose its own.
func TestLimitsBehindAProxy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trusted         []string
		other, invented string // answers to a second client, and to one that names another
	}{
		"trusted":     {[]string{"127.0.0.0/8"}, "", "rate_limited"},
		"not trusted": {nil, "rate_limited", "rate_limited"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(cfg *Config) {
				cfg.TrustedProxies = c.trusted
				cfg.Limits.RatePerIPAndActor, cfg.Limits.ConnectionsPerIP = 1, 2
			})
			for n, call := range []struct{ forwardedFor, reason string }{
				{"203.0.113.1", ""},
				{"203.0.113.1", "rate_limited"},
				{"8.8.8.8, 203.0.113.1", c.invented},
				{"203.0.113.2", c.other},
			} {
				if got := increment(t, b, "Actor-Key", "one", "X-Forwarded-For", call.forwardedFor); got.reason != call.reason {
					t.Errorf("call %d, for %s: %+v, want %q", n, call.forwardedFor, got, call.reason)
				}
			}
		})
	}
}

// TestProxyGivesNoRole holds that who comes by a proxy on loopback has not the role
// of those who are there.
func TestProxyGivesNoRole(t *testing.T) {
	t.Parallel()
	p, err := newProxies([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(context.WithValue(t.Context(), loopbackKey{}, true), http.MethodPost, "/", nil)
	r.RemoteAddr = "127.0.0.1:4000"
	r.Header.Set("X-Forwarded-For", "203.0.113.1")
	var anonymous *authenticator
	if anonymous.serverRole(p.reveal(r).Context()) {
		t.Error("a client from elsewhere has the server role")
	}
	for header, invented := range map[string]string{"Forwarded": "for=1.1.1.1", "X-Forwarded-For": "unknown"} {
		by := r.Clone(r.Context())
		by.Header.Set(header, invented) // the proxy writes the other one, or hides its client
		if anonymous.serverRole(p.reveal(by).Context()) {
			t.Errorf("a client whom %s: %s hides has the server role", header, invented)
		}
	}
	r.Header.Set("X-Forwarded-For", "127.0.0.1")
	if !anonymous.serverRole(p.reveal(r).Context()) {
		t.Error("a client on this machine has not the server role")
	}
}
