// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
)

// copyBuffers are what answers are copied through.
var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// answer sends a node's answer to the client as it comes.
func (p *passing) answer(ctx context.Context, response *http.Response) {
	header := p.w.Header()
	copyHeader(header, response.Header)
	p.w.WriteHeader(response.StatusCode)
	send := p.sender(response.ContentLength < 0) // a stream, or the like
	if response.ContentLength < 0 {
		_ = send(nil) // the headers
	}
	buffer := copyBuffers.Get().(*[32 << 10]byte) //nolint:forcetypeassert // the pool's only type
	defer copyBuffers.Put(buffer)
	for {
		n, err := response.Body.Read(buffer[:])
		if n > 0 {
			if send(buffer[:n]) != nil {
				return // the client is gone, or takes nothing
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if ctx.Err() == nil {
				p.log.Warn("a node has not answered to the end", "error", err)
			}
			panic(http.ErrAbortHandler) //nolint:forbidigo // it is how a handler cuts its connection
		}
	}
	for name, values := range response.Trailer {
		header[http.TrailerPrefix+name] = values
	}
}

// sender returns what sends a piece of an answer to the client, who must take it in
// time: the writer of a stream or a guard sees to that.
func (p *passing) sender(flush bool) func(piece []byte) error {
	if writer, ok := p.w.(*streamWriter); ok {
		return func(piece []byte) error { return writer.send(piece, flush) }
	}
	control := http.NewResponseController(p.w)
	return func(piece []byte) error {
		if _, err := p.w.Write(piece); err != nil || !flush {
			return err
		}
		return control.Flush()
	}
}

// copyHeader adds a node's response headers to those of this one.
func copyHeader(to, from http.Header) {
	dropped := from["Connection"]
	for name, values := range from {
		switch {
		case hopHeaders[name] || listed(dropped, name):
		case name == "Vary":
			to[name] = append(to[name], values...)
		default:
			to[name] = values
		}
	}
}

// join connects the client with the node, which has agreed to another protocol, until
// one of them closes its connection.
func (p *passing) join(response *http.Response) {
	back, ok := response.Body.(io.ReadWriteCloser)
	if !ok {
		p.router.refuse(p.w, p.r, answerLost.unknownf("the node has switched protocols and closed"))
		return
	}
	header := p.w.Header()
	copyHeader(header, response.Header)
	header["Connection"], header["Upgrade"] = []string{"Upgrade"}, response.Header["Upgrade"]
	p.w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(p.w).Hijack()
	if err != nil {
		p.log.Warn("a connection could not be taken over", "error", err)
		return
	}
	cut := sync.OnceFunc(func() {
		_ = conn.Close()
		_ = back.Close()
	})
	defer cut()
	defer context.AfterFunc(p.stopping, cut)()
	var both sync.WaitGroup
	both.Go(func() {
		defer cut()
		_, _ = io.Copy(back, buffered) // what the client has sent early comes first
	})
	_, _ = io.Copy(conn, back)
	cut()
	both.Wait()
}
