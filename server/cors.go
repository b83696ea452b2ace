// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	connectcors "connectrpc.com/cors"
	"github.com/rs/cors"
	"github.com/troupe-dev/troupe/internal/wire"
)

// corsMaxAge is how long a browser may keep the answer to a preflight: 2 h, which
// is the most that any browser does.
const corsMaxAge = 7200

// withCORS lets pages of the listed origins call. It is for a non-empty list.
func withCORS(origins []string, next http.Handler) http.Handler {
	rpc := cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: connectcors.AllowedMethods(),
		AllowedHeaders: append(connectcors.AllowedHeaders(),
			wire.HeaderKey, wire.HeaderID, wire.HeaderResolve, wire.HeaderInput, wire.HeaderNamespace,
			wire.HeaderParams, wire.HeaderConn, wire.HeaderResume, wire.HeaderEvents, wire.HeaderIdempotencyKey,
			headerLastEventID, "Authorization"),
		ExposedHeaders: append(connectcors.ExposedHeaders(), wire.HeaderID, wire.HeaderCursor, wire.HeaderCreated),
		MaxAge:         corsMaxAge,
	}).Handler(next)
	raw := cors.New(cors.Options{ // the actor knows which methods and headers it has
		AllowedOrigins: origins,
		AllowedMethods: []string{
			http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		},
		AllowedHeaders: []string{"*"},
		ExposedHeaders: []string{wire.HeaderID, wire.HeaderCreated},
		MaxAge:         corsMaxAge,
	}).Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isRaw(r.URL.EscapedPath()) {
			raw.ServeHTTP(w, r)
		} else {
			rpc.ServeHTTP(w, r)
		}
	})
}

// checkOrigin reports why text is not exactly one origin.
func checkOrigin(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != text || strings.Contains(text, "*") {
		return fmt.Errorf("%q is not an origin such as https://app.example.com (no path, no wildcard)", text)
	}
	return nil
}

// hostList says which Host headers the server answers to. A web site that makes
// its own name point to this server (DNS rebinding) sends that name.
type hostList struct {
	any      bool
	literals bool // IP addresses cannot be rebound, and an exposed server has some
	names    map[string]bool
}

func newHostList(listen string, allowed []string) hostList {
	l := hostList{literals: !isLoopback(listen), names: map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}}
	for _, name := range append([]string{listen}, allowed...) {
		if name == "*" {
			l.any = true
			continue
		}
		if name = strings.ToLower(hostname(name)); name != "" {
			l.names[name] = true
		}
	}
	return l
}

func (l *hostList) allows(host string) bool {
	if l.any || host == "" { // browsers always send one
		return true
	}
	name := hostname(host)
	if l.names[name] || l.names[strings.ToLower(name)] {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && (l.literals || ip.IsLoopback())
}

// hostname returns a Host header without its port and brackets.
func hostname(host string) string {
	if strings.HasPrefix(host, "[") {
		if end := strings.IndexByte(host, ']'); end > 0 {
			return host[1:end]
		}
		return host
	}
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 && strings.IndexByte(host, ':') == colon {
		return host[:colon]
	}
	return host
}
