// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Held is many open streams over few h2c connections. It reads nothing of them
// beyond the headers: it is for what idle streams cost a server. It goes through
// net/http, whose own cost does not matter here.
type Held struct {
	transport *http.Transport

	mu     sync.Mutex
	bodies []io.Closer // guarded by mu
}

// Hold opens n streams with the same request.
func Hold(addr string, request *Request, n int) (*Held, error) {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	h := &Held{transport: &http.Transport{Protocols: protocols}}
	var (
		wait sync.WaitGroup
		errs = make([]error, n)
		slot = make(chan struct{}, 32)
	)
	for i := range n {
		wait.Go(func() {
			slot <- struct{}{}
			defer func() { <-slot }()
			errs[i] = h.open(addr, request)
		})
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// open opens one stream and keeps it.
func (h *Held) open(addr string, request *Request) error {
	ctx, cancel := context.WithCancel(context.Background())
	timer := time.AfterFunc(grace, cancel)
	defer timer.Stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+request.Procedure, bytes.NewReader(request.body()))
	if err != nil {
		cancel()
		return err
	}
	for _, f := range request.fields() {
		r.Header.Set(f[0], f[1])
	}
	response, err := h.transport.RoundTrip(r) //nolint:bodyclose // by Close
	if err != nil {
		cancel()
		return err
	}
	h.mu.Lock()
	h.bodies = append(h.bodies, cancelBody{response.Body, cancel})
	h.mu.Unlock()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("load: hold: status %d", response.StatusCode)
	}
	return nil
}

// cancelBody resets its stream when it is closed.
type cancelBody struct {
	io.Closer

	cancel context.CancelFunc
}

// Close implements [io.Closer].
func (b cancelBody) Close() error {
	b.cancel()
	return b.Closer.Close()
}

// Close ends every stream.
func (h *Held) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, body := range h.bodies {
		_ = body.Close()
	}
	h.bodies = nil
	h.transport.CloseIdleConnections()
}
