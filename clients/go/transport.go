// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe

import (
	"context"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/internal/httponce"
)

const (
	dialTimeout     = 10 * time.Second
	tcpKeepAlive    = 15 * time.Second
	idleConnections = 256
	idleTimeout     = 90 * time.Second
	http2PingAfter  = 15 * time.Second
	http2PingWait   = 10 * time.Second
)

// newHTTPClient returns the default HTTP client. It has no overall timeout:
// contexts and the watchdog of [Events] bound calls.
func newHTTPClient(cfg *config) *http.Client {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: tcpKeepAlive}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!cfg.http2)
	protocols.SetHTTP2(cfg.http2)
	protocols.SetUnencryptedHTTP2(cfg.http2)
	return &http.Client{Transport: &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSClientConfig:     cfg.tls,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConns:        idleConnections,
		MaxIdleConnsPerHost: idleConnections,
		IdleConnTimeout:     idleTimeout,
		Protocols:           protocols,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: http2PingAfter, PingTimeout: http2PingWait},
	}}
}

// onceClient sends each request once: what may be sent again is for [retries] to say,
// which knows what became of the first one.
type onceClient struct{ connecthttp.HTTPClient }

// Do implements [connecthttp.HTTPClient].
func (c onceClient) Do(r *http.Request) (*http.Response, error) {
	return c.HTTPClient.Do(httponce.Request(r)) //nolint:wrapcheck // Connect does
}

// overClient is a transport that opens streams through another client, so that
// more interceptors can be put around it.
type overClient struct{ client *connect.Client }

func (t overClient) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	return t.client.CallClientStream(ctx, spec)
}

var _ connect.Transport = overClient{}
