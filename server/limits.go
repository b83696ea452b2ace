// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"fmt"
	"time"
)

// Limits bounds what one server takes on. 0 means the default.
type Limits struct {
	// Connections is the number of open connections: 10,000.
	Connections int
	// ConnectionsPerIP is the number of open connections of one address. 0 is
	// no limit.
	ConnectionsPerIP int
	// ConnectionRate is the number of new connections a second, after a burst
	// of four times as many: 500.
	ConnectionRate int
	// StreamsPerConnection is the number of calls at once on one HTTP/2
	// connection: 128.
	StreamsPerConnection int
	// Calls is the number of calls in flight: 4,096.
	Calls int
	// CallsPerPrincipal is the number of calls in flight of one principal that
	// has a subject. 0 is no limit.
	CallsPerPrincipal int
	// CallsPerIPAndActor is the number of calls in flight that come from one
	// address to one actor. 0 is no limit.
	CallsPerIPAndActor int
	// RatePerIPAndActor is the number of requests a minute that may come from
	// one address to one actor, after a burst of a twelfth of it. 0 is no
	// limit.
	RatePerIPAndActor int
	// Subscriptions is the number of open subscriptions, streaming actions and
	// raw requests: 10,000.
	Subscriptions int
	// SubscriptionsPerPrincipal is the number of them of one principal that has a
	// subject. 0 is no limit.
	SubscriptionsPerPrincipal int
	// AuthFailuresPerIP is the number of failed authentications a minute of
	// one address, after which it is refused unheard. When it is set, the
	// answer to a failure is delayed too. 0 is no limit.
	AuthFailuresPerIP int
	// RequestBytes bounds a request message, before and after decompression:
	// 1 MiB.
	RequestBytes int
	// ResponseBytes bounds a response message: 4 MiB. A turn whose reply has more is
	// rolled back. It is the same at every node of a cluster.
	ResponseBytes int
	// HeaderBytes bounds the request line and headers: 32 KiB.
	HeaderBytes int
	// HeaderTimeout is how long a request's headers, and a TLS handshake, may
	// take: 5 s.
	HeaderTimeout time.Duration
	// BodyTimeout is how long a request's body may take: 15 s.
	BodyTimeout time.Duration
	// AuthTimeout is how long Authenticate may take: 5 s.
	AuthTimeout time.Duration
	// StreamAge is how long a subscription lasts, give or take a tenth. It
	// then ends with CLOSE_REASON_EXPIRED and a cursor to go on from: 1 h.
	StreamAge time.Duration
	// Heartbeat is the longest silence of a subscription: 15 s. Proxies that cut
	// silent streams sooner need it shorter.
	Heartbeat time.Duration
	// WriteTimeout is how long one write to a subscriber may take: 10 s.
	WriteTimeout time.Duration
	// IdleTimeout is how long a connection may be idle: 120 s.
	IdleTimeout time.Duration
	// ActionTimeout caps the deadline that a caller may ask for: 300 s. A call
	// without one has the time that its actor type allows.
	ActionTimeout time.Duration
}

// DefaultLimits returns the limits of a server that sets none.
func DefaultLimits() Limits {
	return Limits{
		Connections:          10_000,
		ConnectionRate:       500,
		StreamsPerConnection: 128,
		Calls:                4_096,
		Subscriptions:        10_000,
		RequestBytes:         1 << 20,
		ResponseBytes:        4 << 20,
		HeaderBytes:          32 << 10,
		HeaderTimeout:        5 * time.Second,
		BodyTimeout:          15 * time.Second,
		AuthTimeout:          5 * time.Second,
		StreamAge:            time.Hour,
		Heartbeat:            15 * time.Second,
		WriteTimeout:         10 * time.Second,
		IdleTimeout:          120 * time.Second,
		ActionTimeout:        300 * time.Second,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	for _, n := range []struct{ value, fallback *int }{
		{&l.Connections, &d.Connections},
		{&l.ConnectionRate, &d.ConnectionRate},
		{&l.StreamsPerConnection, &d.StreamsPerConnection},
		{&l.Calls, &d.Calls},
		{&l.Subscriptions, &d.Subscriptions},
		{&l.RequestBytes, &d.RequestBytes},
		{&l.ResponseBytes, &d.ResponseBytes},
		{&l.HeaderBytes, &d.HeaderBytes},
	} {
		if *n.value == 0 {
			*n.value = *n.fallback
		}
	}
	for _, n := range []struct{ value, fallback *time.Duration }{
		{&l.HeaderTimeout, &d.HeaderTimeout},
		{&l.BodyTimeout, &d.BodyTimeout},
		{&l.AuthTimeout, &d.AuthTimeout},
		{&l.StreamAge, &d.StreamAge},
		{&l.Heartbeat, &d.Heartbeat},
		{&l.WriteTimeout, &d.WriteTimeout},
		{&l.IdleTimeout, &d.IdleTimeout},
		{&l.ActionTimeout, &d.ActionTimeout},
	} {
		if *n.value == 0 {
			*n.value = *n.fallback
		}
	}
	return l
}

func (l Limits) validate() error {
	var errs []error
	for name, value := range map[string]int{
		"Connections": l.Connections, "ConnectionsPerIP": l.ConnectionsPerIP, "ConnectionRate": l.ConnectionRate, "StreamsPerConnection": l.StreamsPerConnection,
		"Calls": l.Calls, "Subscriptions": l.Subscriptions, "RequestBytes": l.RequestBytes,
		"ResponseBytes": l.ResponseBytes, "HeaderBytes": l.HeaderBytes,
		"CallsPerPrincipal": l.CallsPerPrincipal, "CallsPerIPAndActor": l.CallsPerIPAndActor, "RatePerIPAndActor": l.RatePerIPAndActor,
		"SubscriptionsPerPrincipal": l.SubscriptionsPerPrincipal, "AuthFailuresPerIP": l.AuthFailuresPerIP,
	} {
		if value < 0 {
			errs = append(errs, fmt.Errorf("field Limits.%s is negative", name))
		}
	}
	for name, value := range map[string]time.Duration{
		"HeaderTimeout": l.HeaderTimeout, "BodyTimeout": l.BodyTimeout, "WriteTimeout": l.WriteTimeout,
		"IdleTimeout": l.IdleTimeout, "ActionTimeout": l.ActionTimeout, "AuthTimeout": l.AuthTimeout, "StreamAge": l.StreamAge,
		"Heartbeat": l.Heartbeat,
	} {
		if value < 0 {
			errs = append(errs, fmt.Errorf("field Limits.%s is negative", name))
		}
	}
	return errors.Join(errs...)
}
