// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"mime"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
)

const headerContentType = "Content-Type"

// Content types of requests, by the kind of method.
var (
	grpcTypes = []string{
		"application/grpc", "application/grpc+proto", "application/grpc+json",
		"application/grpc-web", "application/grpc-web+proto", "application/grpc-web+json",
	}
	unaryTypes  = append([]string{"application/json", "application/proto", "application/json; charset=utf-8"}, grpcTypes...)
	streamTypes = append([]string{"application/connect+json", "application/connect+proto"}, grpcTypes...)
)

// acceptsType reports whether Connect knows the request's content type for this
// procedure.
func (found *route) acceptsType(r *http.Request) bool {
	values := r.Header[headerContentType]
	if len(values) != 1 {
		return false
	}
	if found.accepts[values[0]] {
		return true
	}
	base, parameters, err := mime.ParseMediaType(values[0])
	if err != nil || !found.accepts[base] {
		return false
	}
	charset, ok := parameters["charset"]
	return len(parameters) == 0 || ok && len(parameters) == 1 && strings.EqualFold(charset, "utf-8")
}

// answersGet reports whether Connect answers a GET of the procedure.
func (found *route) answersGet() bool {
	return !found.other && found.spec.StreamType == connect.StreamTypeUnary && found.spec.IdempotencyLevel == connect.IdempotencyNoSideEffects
}

// acceptsEncoding reports whether Connect knows the encoding that a GET names. The
// usual ones are found without taking the query apart.
func acceptsEncoding(r *http.Request) bool {
	query := r.URL.RawQuery
	if strings.Contains(query, "encoding=json") || strings.Contains(query, "encoding=proto") {
		return true // or Connect refuses it
	}
	encoding, _, _ := strings.Cut(r.URL.Query().Get("encoding"), ";")
	return encoding == connect.CodecNameJSON || encoding == connect.CodecNameProto
}

// isRPC reports whether a request looks like a call of some service's method.
func isRPC(r *http.Request) bool {
	service, method, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if r.Method != http.MethodPost || !ok || service == "" || method == "" || strings.Contains(method, "/") {
		return false
	}
	base, _, err := mime.ParseMediaType(r.Header.Get(headerContentType))
	return err == nil && (slices.Contains(unaryTypes, base) || slices.Contains(streamTypes, base))
}
