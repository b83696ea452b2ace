// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"context"
	"crypto/tls"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
)

// Option configures [Dial].
type Option interface {
	apply(*config)
}

type headerFunc func(context.Context, *connect.Header) error

type config struct {
	namespace      string
	httpClient     connecthttp.HTTPClient
	tls            *tls.Config
	http2          bool
	transport      connect.Transport
	headers        []headerFunc
	connectOptions []connecthttp.Option
	noRetries      bool
	noKeys         bool
}

type optionFunc func(*config)

func (f optionFunc) apply(cfg *config) { f(cfg) }

// WithNamespace sets the tenant of every address that names none. Default: the
// server's default namespace.
func WithNamespace(namespace string) Option {
	return optionFunc(func(cfg *config) { cfg.namespace = namespace })
}

// WithHTTPClient replaces the HTTP client, and with it [WithTLS] and [WithHTTP2].
// It must not limit the duration of a request: an [http.Client.Timeout] would cut
// every subscription.
//
// The default speaks HTTP/1.1 with keep-alive, which costs less than HTTP/2 for
// unary calls in Go, and keeps up to 256 idle connections for 90 s. Each open
// stream has a connection of its own.
func WithHTTPClient(client connecthttp.HTTPClient) Option {
	return optionFunc(func(cfg *config) { cfg.httpClient = client })
}

// WithTLS sets how the default HTTP client checks an https server and who it
// says it is. Default: the system's certificate authorities.
func WithTLS(conf *tls.Config) Option {
	return optionFunc(func(cfg *config) { cfg.tls = conf.Clone() })
}

// WithHTTP2 makes the default HTTP client speak HTTP/2 only: over TLS to an https
// URL and without (h2c) to an http URL. The gRPC protocol needs it; so do more
// streams than there are connections to spare.
func WithHTTP2() Option {
	return optionFunc(func(cfg *config) { cfg.http2 = true })
}

// WithTransport replaces HTTP altogether, for example by an in-process transport.
// It ignores the URL and every other option about HTTP.
func WithTransport(transport connect.Transport) Option {
	return optionFunc(func(cfg *config) { cfg.transport = transport })
}

// WithHeader sends a header with every call, such as an API key.
func WithHeader(name, value string) Option {
	return WithHeaders(func(_ context.Context, header *connect.Header) error {
		header.Set(name, value)
		return nil
	})
}

// WithHeaders calls set before every attempt of a call and before each time a
// subscription connects, for example to set a fresh token. Set may block, must be
// safe for concurrent use and should use [connect.Header.Set], not Add. Its error
// fails the call; a subscription tries again later, unless the error has one of
// the codes that end it.
func WithHeaders(set func(ctx context.Context, header *connect.Header) error) Option {
	return optionFunc(func(cfg *config) { cfg.headers = append(cfg.headers, set) })
}

// WithConnectOptions passes options to the Connect transport: protocol (gRPC,
// gRPC-Web), codec (JSON), compression, message limits, HTTP GET. The default is
// the Connect protocol in binary, by POST, with messages of up to 4 MiB.
func WithConnectOptions(opts ...connecthttp.Option) Option {
	return optionFunc(func(cfg *config) { cfg.connectOptions = append(cfg.connectOptions, opts...) })
}

// WithoutRetries sends every call once. Subscriptions still reconnect.
func WithoutRetries() Option {
	return optionFunc(func(cfg *config) { cfg.noRetries = true })
}

// WithoutIdempotencyKeys sends calls without the keys that this client makes by
// itself: see the package comment. A key of the caller's own, set as the header
// idempotency-key, is sent all the same.
func WithoutIdempotencyKeys() Option {
	return optionFunc(func(cfg *config) { cfg.noKeys = true })
}
