// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/internal/wire"
)

// Config configures a [Server]. The zero value of everything but Registry and
// Store is its default.
type Config struct {
	// Registry holds the actor types. Required.
	Registry *actors.Registry
	// Store keeps the actors. Required; the server does not close it.
	Store store.Store
	// Logger is where the server writes; nil means [slog.Default].
	Logger *slog.Logger

	// Listen is the address that the server will be bound to. What is allowed
	// by default depends on it: see InsecureAnonymous, AllowedHosts and
	// Reflection. Empty means 127.0.0.1:8080.
	Listen string
	// TLS, unless nil, holds the certificate to serve with.
	TLS *tls.Config
	// Authenticate, unless nil, says who sends a request, by its headers, which
	// it must not change or keep. It runs before anything else of the request
	// is read, for calls and for raw requests, not for health, CORS preflights
	// and Handlers; it may do I/O within Limits.AuthTimeout and is called
	// concurrently. An error made by [actors.Errorf] or [connect.Errorf]
	// refuses the request as it is; any other is unauthenticated, its text
	// kept back.
	//
	// Without it callers are anonymous and may name every namespace of the
	// server, and those who come in by a loopback listener have [RoleServer].
	Authenticate func(ctx context.Context, header http.Header) (Principal, error)
	// InsecureAnonymous allows a listener that is not on a loopback address
	// without Authenticate: nobody who calls has to say who they are.
	InsecureAnonymous bool
	// AllowedHosts are Host headers that the server answers to, besides its
	// own address and the loopback names, so that a web site cannot reach it
	// under a name of its own. "*" allows every one.
	AllowedHosts []string
	// TrustedProxies are the networks, such as 10.0.0.0/8, and addresses of the
	// proxies in front of the server. A request that one of them hands on counts
	// as that of the client that it names in X-Forwarded-For or Forwarded, for the
	// limits by address and for the role of loopback callers, and the proxies are
	// exempt from Limits.ConnectionsPerIP. Nobody else is believed.
	TrustedProxies []string
	// CORSOrigins are the origins, such as https://app.example.com, whose
	// pages may call. Empty means none.
	CORSOrigins []string
	// NoHTTPGet makes read-only methods refuse HTTP GET, which puts requests
	// into URLs and so into the logs of others.
	NoHTTPGet bool
	// StrictJSON refuses requests in JSON that have fields unknown to the
	// schema. Otherwise they are ignored, as newer clients send them.
	StrictJSON bool
	// Reflection is "on", "off" or "auto", which is on while Listen is a
	// loopback address. Empty means auto.
	Reflection string

	// Development makes the server look for mistakes of actors that cost too much
	// to look for in production: see [actors.Config.CheckReads].
	Development bool

	// ScheduledTurns is how many actors may run a schedule at one time. 0 means
	// 64. What is due beyond it waits.
	ScheduledTurns int
	// WakeRate is how many sleeping actors are woken in a second for what is due.
	// 0 means 500.
	WakeRate int
	// ConcurrentWakes is how many actors come into memory at one time; one more
	// waits for 2 s and is then refused. 0 means 256.
	ConcurrentWakes int
	// MemoryLimit is what the live heap is compared with to shed load, in bytes:
	// see [actors.Config.MemoryLimit]. 0 means GOMEMLIMIT, if that is set.
	MemoryLimit int64

	// Namespaces are the tenants that calls may name; "*" allows every one.
	// Empty means "default" alone.
	Namespaces []string
	// Handlers serve other content, by patterns of [http.ServeMux]. The paths
	// of services and everything under /actors/ stay the server's.
	Handlers map[string]http.Handler
	// Services, unless nil, registers Connect services that are not actors. They
	// share the server's listener, authentication, codecs and limits. Of their
	// errors a *[connect.Error] leaves as it is, any other as internal. They are
	// called without an address, and a principal of any namespace may call them.
	Services func(rpc *connect.Server)

	// Cluster, unless nil, makes the server one node of several. All of them have
	// the same registry, namespaces and authentication, and one store.
	Cluster *Cluster

	// Limits bounds what the server takes on.
	Limits Limits
}

// DefaultListen is the address that a server is bound to by default.
const DefaultListen = "127.0.0.1:8080"

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Reflection == "" {
		c.Reflection = "auto"
	}
	if len(c.Namespaces) == 0 {
		c.Namespaces = []string{wire.DefaultNamespace}
	}
	c.Limits = c.Limits.withDefaults()
	return c
}

// validate names the field that is wrong. It expects the defaults to be set.
func (c Config) validate() error {
	var errs []error
	if c.Registry == nil {
		errs = append(errs, errors.New("field Registry is nil"))
	}
	if c.Store == nil {
		errs = append(errs, errors.New("field Store is nil"))
	}
	for name, value := range map[string]int64{
		"ScheduledTurns": int64(c.ScheduledTurns), "WakeRate": int64(c.WakeRate),
		"ConcurrentWakes": int64(c.ConcurrentWakes), "MemoryLimit": c.MemoryLimit,
	} {
		if value < 0 {
			errs = append(errs, fmt.Errorf("field %s is negative", name))
		}
	}
	errs = append(errs, c.checkTexts(func(field string) string { return "field " + field }))
	if err := checkListen(c.Listen, c.allowsExposure()); err != nil {
		errs = append(errs, fmt.Errorf("field Listen: %w", err))
	}
	if c.TLS != nil && len(c.TLS.Certificates) == 0 && c.TLS.GetCertificate == nil && c.TLS.GetConfigForClient == nil {
		errs = append(errs, errors.New("field TLS has no certificate"))
	}
	if c.Cluster != nil {
		errs = append(errs, c.Cluster.validate())
		for name, value := range map[string]int{"RequestBytes": c.Limits.RequestBytes, "ResponseBytes": c.Limits.ResponseBytes} {
			if value > nodeMessageBytes/2 {
				errs = append(errs, fmt.Errorf("field Limits.%s is more than the %d that messages between nodes may carry", name, nodeMessageBytes/2))
			}
		}
	}
	errs = append(errs, c.Limits.validate())
	return errors.Join(errs...)
}

// checkTexts checks what is a text of some form. Called says what a field is called.
func (c Config) checkTexts(called func(field string) string) error {
	var errs []error
	if !slices.Contains([]string{"auto", "on", "off"}, c.Reflection) {
		errs = append(errs, fmt.Errorf("%s is auto, on or off, not %q", called("Reflection"), c.Reflection))
	}
	for _, name := range c.Namespaces {
		if name == "*" {
			continue
		}
		if err := wire.CheckNamespace(name); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", called("Namespaces"), err))
		}
	}
	if _, err := newProxies(c.TrustedProxies); err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", called("TrustedProxies"), err))
	}
	for _, origin := range c.CORSOrigins {
		if err := checkOrigin(origin); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", called("CORSOrigins"), err))
		}
	}
	return errors.Join(errs...)
}

// allowsExposure reports whether the server may be reached from other machines.
func (c Config) allowsExposure() bool { return c.InsecureAnonymous || c.Authenticate != nil }

// reflects reports whether the server serves reflection.
func (c Config) reflects() bool {
	return c.Reflection == "on" || c.Reflection == "auto" && isLoopback(c.Listen)
}

// warnings lists the settings that make the server less safe than its defaults.
func (c Config) warnings() []string {
	var list []string
	exposed := !isLoopback(c.Listen)
	if exposed && c.InsecureAnonymous && c.Authenticate == nil {
		list = append(list, "anyone who reaches "+c.Listen+" may call every actor (-insecure-anonymous)")
	}
	if exposed && c.TLS == nil {
		list = append(list, "calls to "+c.Listen+" travel unencrypted (no -tls-cert)")
	}
	if exposed && c.reflects() {
		list = append(list, "the schemas are served to anyone (-reflection on)")
	}
	if slices.Contains(c.AllowedHosts, "*") {
		list = append(list, "any Host header is accepted, so web sites can reach this server by DNS rebinding (-allowed-hosts *)")
	}
	if slices.Contains(c.Namespaces, "*") {
		list = append(list, "callers choose their namespace freely (-namespaces *)")
	}
	return list
}
