// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
)

// Client reaches the actors of one Troupe server or cluster. It is safe for
// concurrent use; a program needs one for each server.
type Client struct {
	transport    connect.Transport
	retries      *retries
	keys         bool                        // calls of actors get idempotency keys
	interceptors []connect.ClientInterceptor // inside the retries; outermost first
	namespace    string
	baseURL      string       // empty over a transport that the caller brought
	ownHTTP      *http.Client // nil if the caller brought one
	err          error        // what makes every call fail
}

// Dial returns a client of the server at baseURL, such as
// "https://troupe.example.com". It does not touch the network and does not fail:
// a wrong URL is the error of every call.
func Dial(baseURL string, opts ...Option) *Client {
	var cfg config
	for _, opt := range opts {
		opt.apply(&cfg)
	}
	c := &Client{namespace: cfg.namespace, transport: cfg.transport, keys: !cfg.noKeys}
	if c.transport == nil {
		c.baseURL, c.err = baseURL, checkURL(baseURL)
		client := cfg.httpClient
		if client == nil {
			c.ownHTTP = newHTTPClient(&cfg)
			client = c.ownHTTP
		}
		c.transport = connecthttp.NewTransport(onceClient{client}, baseURL, cfg.connectOptions...)
	}
	attempts := maxAttempts
	if cfg.noRetries {
		attempts, c.keys = 1, false
	}
	c.retries = newRetries(attempts)
	if len(cfg.headers) > 0 {
		c.interceptors = append(c.interceptors, setHeaders(cfg.headers))
	}
	return c
}

// GetOrCreate binds the actor with this key, which a first call creates. No
// segments name the empty key of a singleton.
//
// A key that breaks a limit (32 segments of at most 128 bytes, 1,024 bytes in
// all, UTF-8 without control characters) makes every call fail with
// invalid_argument before anything is sent. That is so for all methods that bind.
func (c *Client) GetOrCreate(key ...string) *connect.Client {
	return c.Bind(Address{Key: key})
}

// Get binds the actor with this key. Calls fail with not_found while there is none.
func (c *Client) Get(key ...string) *connect.Client {
	return c.Bind(Address{Key: key, Resolve: Get})
}

// Create binds the actor with this key. A call creates it, and fails with
// already_exists if it is there: so only the first call can succeed.
func (c *Client) Create(key ...string) *connect.Client {
	return c.Bind(Address{Key: key, Resolve: Create})
}

// ForID binds one incarnation of an actor. Calls fail with not_found once it is
// destroyed, whoever has its key then.
func (c *Client) ForID(id string) *connect.Client {
	headers, err := Address{ID: id}.encodeID(c.namespace)
	return c.bind(c.keys, headers, err)
}

// Bind binds an address with everything an address can say. Its messages are
// encoded now: later changes to them have no effect.
func (c *Client) Bind(address Address) *connect.Client {
	large, err := newLargeInput(c, &address)
	if err != nil {
		return c.bind(c.keys, nil, err)
	}
	if large != nil {
		if address.Resolve == Create {
			address.Resolve = GetOrCreate // the creation itself is apart
		}
		headers, err := address.encode(c.namespace)
		return c.bind(c.keys, headers, err, large.intercept)
	}
	headers, err := address.encode(c.namespace)
	return c.bind(c.keys, headers, err)
}

func (c *Client) bind(keys bool, headers []header, err error, before ...connect.ClientInterceptor) *connect.Client {
	if c.err != nil {
		err = c.err
	}
	interceptors := make([]connect.ClientInterceptor, 0, len(c.interceptors)+len(before)+2)
	interceptors = append(interceptors, before...)
	interceptors = append(interceptors, c.retries.intercept(keys))
	interceptors = append(interceptors, c.interceptors...)
	return connect.NewClient(c.transport, append(interceptors, bindAddress(headers, err))...)
}

// Actors returns the client of the lifecycle service: create, look up, list and
// destroy actors of every type. [Client.Address] makes its addresses.
func (c *Client) Actors() troupev1connect.ActorServiceClient {
	return troupev1connect.NewActorServiceClient(c.bind(false, nil, nil))
}

// Address returns the address message of the actor of a type with a key, in the
// client's namespace, for requests of [Client.Actors]. The type is the full name
// of the actor's service: the generated constant ending in Name.
func (c *Client) Address(actorType string, key ...string) *troupev1.Address {
	return &troupev1.Address{Namespace: c.namespace, Type: actorType, Key: slices.Clone(key)}
}

// Close closes the connections that no call uses. Calls and streams that are
// under way go on, and the client stays usable. It leaves a client given by
// [WithHTTPClient] alone.
func (c *Client) Close() {
	if c.ownHTTP != nil {
		c.ownHTTP.CloseIdleConnections()
	}
}

func checkURL(baseURL string) error {
	parsed, err := url.Parse(baseURL)
	switch {
	case err != nil:
		return localErrorf("the server's URL: %v", err)
	case parsed.Scheme != "http" && parsed.Scheme != "https", parsed.Host == "":
		return localErrorf("the server's URL %q is not like http://host:port or https://host", baseURL)
	}
	return nil
}

// setHeaders calls every function before each attempt of a call.
func setHeaders(set []headerFunc) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			ctx, info := callInfo(ctx)
			for _, f := range set {
				if err := f(ctx, info.RequestHeader()); err != nil {
					return nil, err
				}
			}
			return next(ctx, spec)
		}
	}
}

// callInfo returns the call's metadata, which a [connect.Client] always attaches.
func callInfo(ctx context.Context) (context.Context, *connect.CallInfo) {
	if info, ok := connect.CallInfoForClientContext(ctx); ok {
		return ctx, info
	}
	return connect.NewClientContext(ctx)
}
