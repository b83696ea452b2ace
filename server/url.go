// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/internal/wire"
)

// urlPrefix begins the path of a request whose address is in its URL.
const urlPrefix = "/actors/"

// urlAddress is the address that a URL path holds:
//
//	/actors/{namespace}/{segments…}/@/{package.Service}/{Method}
//	/actors/{namespace}/{segments…}/@/{package.Service}/http/{path}
type urlAddress struct {
	namespace, key string
	procedure      string // empty in a raw request

	// Of a raw request:
	service           string
	path, escapedPath string // what the actor sees
}

// parseURLAddress splits an escaped path and only then decodes its parts, so that
// an encoded slash stays part of its segment.
func parseURLAddress(escaped string) (a urlAddress, err error) {
	rest, ok := strings.CutPrefix(escaped, urlPrefix)
	if !ok {
		return a, badURLAddress.errorf("the path does not begin with %s", urlPrefix)
	}
	// An encoded segment holds no @, so the first one that stands alone ends the key.
	head, tail, ok := strings.Cut(rest, "/@/")
	if !ok {
		return a, badURLAddress.errorf("the path is not /actors/{namespace}/{key segments}/@/{package.Service}/{Method}")
	}
	namespace, key, keyed := strings.Cut(head, "/")
	if keyed && key == "" {
		return a, badActorKey.errorf("a key segment is empty; an empty segment is written ~")
	}
	if a.namespace, err = decodePart(namespace); err != nil {
		return a, err
	}
	if a.namespace == "" {
		return a, badNamespace.errorf("the namespace in the path is empty")
	}
	if a.key, err = wire.CanonicalKey(key); err != nil {
		return a, badActorKey.errorf("%s", err)
	}
	service, method, ok := strings.Cut(tail, "/")
	if !ok {
		return a, badURLAddress.errorf("the path names no method after the service")
	}
	if service, err = decodePart(service); err != nil {
		return a, err
	}
	if path, ok := strings.CutPrefix(method, rawSegment); ok && (path == "" || path[0] == '/') {
		a.service, a.escapedPath = service, cmp.Or(path, "/")
		a.path, err = decodePart(a.escapedPath)
		return a, err
	}
	if strings.Contains(method, "/") {
		return a, badURLAddress.errorf("the path goes on after the method")
	}
	if method, err = decodePart(method); err != nil {
		return a, err
	}
	if service == "" || method == "" || strings.Contains(service, "/") || strings.Contains(method, "/") {
		return a, badURLAddress.errorf("the path does not name a service and a method")
	}
	a.procedure = "/" + service + "/" + method
	return a, nil
}

func decodePart(part string) (string, error) {
	decoded, err := url.PathUnescape(part)
	if err != nil {
		return "", badURLAddress.errorf("the path has a %% that two hexadecimal digits do not follow")
	}
	return decoded, nil
}

// withURLAddress turns a request with its address in the URL into one with its
// address in the metadata. It changes r's headers and returns a copy of r.
func withURLAddress(r *http.Request, address *urlAddress) (*http.Request, error) {
	for _, name := range [...]string{wire.HeaderKey, wire.HeaderID, wire.HeaderNamespace} {
		if len(r.Header[name]) > 0 {
			return nil, addressConflict.errorf("the address is in the URL, so %s is refused", strings.ToLower(name))
		}
	}
	r.Header[wire.HeaderNamespace] = []string{address.namespace}
	r.Header[wire.HeaderKey] = []string{address.key}
	if r.URL.RawQuery != "" {
		if err := queryMetadata(r); err != nil {
			return nil, err
		}
	}
	moved := r.WithContext(r.Context())
	target := *r.URL
	target.Path, target.RawPath = address.procedure, ""
	moved.URL = &target
	return moved, nil
}

// queryMetadata takes the query parameters that stand for headers.
func queryMetadata(r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badURLAddress.errorf("the query is malformed")
	}
	for _, p := range [...]struct {
		name, header string
	}{{"resume", wire.HeaderResume}, {"resolve", wire.HeaderResolve}, {"params", wire.HeaderParams}} {
		values, ok := query[p.name]
		if !ok {
			continue
		}
		if len(values) > 1 || len(r.Header[p.header]) > 0 {
			return addressConflict.errorf("%s is given twice", p.name)
		}
		value := values[0]
		if p.header == wire.HeaderParams {
			if value, err = paramsOfQuery(value); err != nil {
				return err
			}
		}
		r.Header[p.header] = []string{value}
	}
	return nil
}

// paramsOfQuery turns the query's form of the parameters into that of the header.
func paramsOfQuery(value string) (string, error) {
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil {
		return "", badActorParams.errorf("params is not base64url")
	}
	return connect.EncodeBinaryHeader(data), nil
}
