// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package httponce has net/http send a request that may have effects once.
package httponce

import (
	"maps"
	"net/http"
)

// repeating are the headers under which [http.Transport] sends a request again by
// itself, whatever its method, if the connection that it has used again ends before the
// answer. It looks for this spelling alone, and who reads the request for none.
var repeating = map[string]string{"Idempotency-Key": "idempotency-key", "X-Idempotency-Key": "x-idempotency-key"}

// Request returns a request as [http.Transport] does not send it again because of its
// headers: r itself, or a copy with others.
func Request(r *http.Request) *http.Request {
	out := r
	for name, spelled := range repeating {
		if values, ok := r.Header[name]; ok {
			if out == r {
				out = r.WithContext(r.Context())
				out.Header = maps.Clone(r.Header)
			}
			delete(out.Header, name)
			out.Header[spelled] = values
		}
	}
	return out
}
