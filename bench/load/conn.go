// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// errResponse is returned for a response that this package cannot read.
var errResponse = errors.New("load: cannot read the response")

// Conn is one HTTP/1.1 connection. It belongs to one goroutine at a time.
type Conn struct {
	net.Conn

	// buf[from:to] is what has been read and not yet consumed.
	buf      []byte
	from, to int
}

// Dial connects to addr.
func Dial(addr string) (*Conn, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	nc, err := dialer.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("load: dial: %w", err)
	}
	return &Conn{Conn: nc, buf: make([]byte, 4096)}, nil
}

// RoundTrip sends one request and reads its response. The body is good until the
// next call.
func (c *Conn) RoundTrip(request []byte) (status int, body []byte, err error) {
	if _, err := c.Write(request); err != nil {
		return 0, nil, err
	}
	status, length, err := c.head()
	if err != nil {
		return 0, nil, err
	}
	if length == chunked {
		body, err = c.chunks()
		return status, body, err
	}
	body, err = c.take(length)
	return status, body, err
}

// chunked is what head returns for the length of a chunked body.
const chunked = -1

// head consumes a response's status line and headers.
func (c *Conn) head() (status, length int, err error) {
	scanned := c.from
	for {
		// The blank line may straddle two reads.
		begin := max(c.from, scanned-3)
		if i := bytes.Index(c.buf[begin:c.to], []byte("\r\n\r\n")); i >= 0 {
			head := c.buf[c.from : begin+i+2]
			c.from = begin + i + 4
			return parseHead(head)
		}
		unread := c.to - c.from
		if err := c.fill(); err != nil {
			return 0, 0, err
		}
		scanned = c.from + unread
	}
}

// parseHead reads the status and the body's length out of a head whose every
// line ends with CR LF.
func parseHead(head []byte) (status, length int, err error) {
	if len(head) < len("HTTP/1.1 200") || !bytes.HasPrefix(head, []byte("HTTP/1.1 ")) {
		return 0, 0, errResponse
	}
	for _, digit := range head[9:12] {
		status = status*10 + int(digit-'0')
	}
	if _, value, ok := bytes.Cut(head, []byte("\r\nContent-Length: ")); ok {
		for _, digit := range value {
			if digit < '0' || digit > '9' {
				break
			}
			length = length*10 + int(digit-'0')
		}
		return status, length, nil
	}
	if bytes.Contains(head, []byte("\r\nTransfer-Encoding: chunked\r\n")) {
		return status, chunked, nil
	}
	if status == 204 || status == 304 {
		return status, 0, nil
	}
	return 0, 0, fmt.Errorf("%w: no length", errResponse)
}

// chunks consumes a chunked body and returns it in one piece.
func (c *Conn) chunks() ([]byte, error) {
	var body []byte
	for {
		size, err := c.chunkSize()
		if err != nil {
			return nil, err
		}
		data, err := c.take(size + 2)
		if err != nil {
			return nil, err
		}
		if size == 0 {
			return body, nil
		}
		body = append(body, data[:size]...)
	}
}

// chunkSize consumes the line before a chunk.
func (c *Conn) chunkSize() (int, error) {
	for {
		if i := bytes.IndexByte(c.buf[c.from:c.to], '\n'); i >= 0 {
			line := bytes.TrimRight(c.buf[c.from:c.from+i], "\r")
			c.from += i + 1
			size, err := strconv.ParseUint(string(line), 16, 31)
			if err != nil {
				return 0, fmt.Errorf("%w: %w", errResponse, err)
			}
			return int(size), nil
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}

// take consumes n bytes.
func (c *Conn) take(n int) ([]byte, error) {
	for c.to-c.from < n {
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	data := c.buf[c.from : c.from+n]
	c.from += n
	return data, nil
}

// fill reads more, making room first.
func (c *Conn) fill() error {
	if c.from > 0 {
		c.to = copy(c.buf, c.buf[c.from:c.to])
		c.from = 0
	}
	if c.to == len(c.buf) {
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	n, err := c.Read(c.buf[c.to:])
	c.to += n
	if n > 0 {
		return nil
	}
	return err
}
