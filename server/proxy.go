// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Headers by which a proxy says whom it speaks for.
const (
	headerForwarded    = "Forwarded"
	headerForwardedFor = "X-Forwarded-For"
)

// maxHops bounds the proxies that are looked through.
const maxHops = 16

// proxies are the networks of the proxies that are believed. The nil proxies believe
// nobody.
type proxies []netip.Prefix

// newProxies reads networks such as 10.0.0.0/8, and single addresses.
func newProxies(networks []string) (proxies, error) {
	var p proxies
	for _, text := range networks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			address, addressErr := netip.ParseAddr(text)
			if addressErr != nil {
				return nil, fmt.Errorf("%q is neither a network such as 10.0.0.0/8 nor an address", text)
			}
			address = address.Unmap()
			network = netip.PrefixFrom(address, address.BitLen())
		}
		p = append(p, network.Masked())
	}
	return p, nil
}

func (p proxies) trust(address netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(address) })
}

// reveal gives a request that came by a trusted proxy the address of the client that
// the proxy speaks for, in place of the proxy's own. A client from elsewhere, or from
// nobody knows where, has not come in by the loopback interface, even if its proxy has.
func (p proxies) reveal(r *http.Request) *http.Request {
	if len(p) == 0 {
		return r
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !p.trust(peer.Addr().Unmap()) {
		return r
	}
	from := peer.Addr().Unmap()
	client, known := p.client(r.Header, from)
	if client == from && known {
		return r
	}
	ctx := r.Context()
	if !known || !client.IsLoopback() {
		ctx = context.WithValue(ctx, loopbackKey{}, false)
	}
	revealed := r.WithContext(ctx)
	if client != from {
		revealed.RemoteAddr = netip.AddrPortFrom(client, 0).String()
	}
	return revealed
}

// client returns the newest address in the headers that is not a trusted proxy's, and
// whether that is the client's. A header that a proxy does not write is the client's own
// invention, so where both headers are there and differ, none is believed.
func (p proxies) client(header http.Header, peer netip.Addr) (client netip.Addr, known bool) {
	forwarded, forwardedFor := header[headerForwarded], header[headerForwardedFor]
	switch {
	case len(forwarded) == 0:
		return p.walk(forwardedForHops(forwardedFor), peer)
	case len(forwardedFor) == 0:
		return p.walk(forwardedHops(forwarded), peer)
	}
	a, knownA := p.walk(forwardedHops(forwarded), peer)
	b, knownB := p.walk(forwardedForHops(forwardedFor), peer)
	if a != b {
		return peer, false
	}
	return a, knownA && knownB
}

// walk goes back from peer, whom it trusts, as far as it trusts. Each hop was written
// by the one after it.
func (p proxies) walk(hops []string, peer netip.Addr) (client netip.Addr, known bool) {
	client = peer
	for n := len(hops) - 1; n >= max(0, len(hops)-maxHops); n-- {
		address, ok := hopAddress(hops[n])
		if !ok {
			return client, false // someone unknown, who came by the proxy that is known
		}
		if client = address; !p.trust(client) {
			return client, true
		}
	}
	return client, len(hops) <= maxHops
}

// hopAddress reads 192.0.2.1, 192.0.2.1:80, 2001:db8::1, [2001:db8::1] and
// [2001:db8::1]:80.
func hopAddress(text string) (netip.Addr, bool) {
	if both, err := netip.ParseAddrPort(text); err == nil {
		return both.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimSuffix(inner, "]")
	}
	address, err := netip.ParseAddr(text)
	return address.Unmap().WithZone(""), err == nil
}

func forwardedForHops(lines []string) []string {
	var hops []string
	for _, line := range lines {
		for hop := range strings.SplitSeq(line, ",") {
			hops = append(hops, strings.TrimSpace(hop))
		}
	}
	return hops
}

// forwardedHops returns what stands behind for= in each element of the header
// Forwarded (RFC 7239), empty where there is none.
func forwardedHops(lines []string) []string {
	var hops []string
	for _, line := range lines {
		for element := range splitQuoted(line, ',') {
			hop := ""
			for pair := range splitQuoted(element, ';') {
				name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
				if strings.EqualFold(name, "for") {
					hop = strings.Trim(value, `"`)
				}
			}
			hops = append(hops, hop)
		}
	}
	return hops
}

// splitQuoted splits text at separators that are not within quotes.
func splitQuoted(text string, separator byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		quoted, begin := false, 0
		for n := 0; n < len(text); n++ {
			switch c := text[n]; {
			case c == '"':
				quoted = !quoted
			case c == '\\' && quoted:
				n++
			case c == separator && !quoted:
				if !yield(text[begin:n]) {
					return
				}
				begin = n + 1
			}
		}
		yield(text[begin:])
	}
}
