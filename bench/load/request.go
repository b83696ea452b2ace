// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"encoding/binary"
	"net/url"
	"strconv"
	"strings"
)

// Request is a call before it is put into bytes.
type Request struct {
	// Procedure is the path, such as "/counter.v1.Counter/Get".
	Procedure string
	// Key is the actor's key; nil sends no actor-key.
	Key []string
	// IdempotencyKey is sent unless it is empty.
	IdempotencyKey string
	// Stream says that the procedure answers with a stream.
	Stream bool
	// Body is the encoded request message.
	Body []byte
}

// userAgent is sent so that requests are as long as those of a real client.
const userAgent = "connect-go/2.0.2 (go1.26)"

// Append appends the request as HTTP/1.1 to dst.
func (r *Request) Append(dst []byte) []byte {
	dst = append(dst, "POST "...)
	dst = append(dst, r.Procedure...)
	dst = append(dst, " HTTP/1.1\r\nHost: localhost\r\n"...)
	for _, f := range r.fields() {
		dst = append(dst, f[0]...)
		dst = append(dst, ": "...)
		dst = append(dst, f[1]...)
		dst = append(dst, "\r\n"...)
	}
	body := r.body()
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

// fields returns the headers that do not depend on the HTTP version.
func (r *Request) fields() [][2]string {
	fields := [][2]string{
		{"User-Agent", userAgent},
		{"Connect-Protocol-Version", "1"},
	}
	if r.IdempotencyKey != "" {
		fields = append(fields, [2]string{"Idempotency-Key", r.IdempotencyKey})
	}
	if r.Stream {
		fields = append(fields, [2]string{"Content-Type", "application/connect+proto"},
			[2]string{"Connect-Accept-Encoding", "gzip"})
	} else {
		fields = append(fields, [2]string{"Content-Type", "application/proto"},
			[2]string{"Accept-Encoding", "gzip"})
	}
	if r.Key != nil {
		fields = append(fields, [2]string{"Actor-Key", EncodeKey(r.Key)})
	}
	return fields
}

// body returns the message, in an envelope if the procedure streams.
func (r *Request) body() []byte {
	if !r.Stream {
		return r.Body
	}
	return AppendEnvelope(nil, r.Body)
}

// AppendEnvelope appends message to dst as streams carry it.
func AppendEnvelope(dst, message []byte) []byte {
	dst = append(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(message)))
	return append(dst, message...)
}

// EncodeKey encodes a key for the actor-key header.
func EncodeKey(segments []string) string {
	encoded := make([]string, len(segments))
	for i, segment := range segments {
		if segment == "" || segment == "." || segment == ".." || segment[0] == '~' {
			segment = "~" + segment
		}
		encoded[i] = strings.ReplaceAll(url.QueryEscape(segment), "+", "%20")
	}
	return strings.Join(encoded, "/")
}
