// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Swarm is many open streams, one HTTP/1.1 connection each. It counts the events
// that arrive, leaving out frames that carry none.
type Swarm struct {
	streams []*stream
	readers sync.WaitGroup
	closing atomic.Bool
	failed  atomic.Pointer[error]
	// waiting says that someone wants wake.
	waiting atomic.Bool
	wake    chan struct{}
}

// stream is one subscription. Padded, because each reader counts on its own.
type stream struct {
	conn   *Conn
	parser parser
	events atomic.Int64
	bytes  atomic.Int64
	_      [64]byte
}

// Subscribe opens n streams with the same request and returns when each has had
// its response headers.
func Subscribe(addr string, request []byte, n int) (*Swarm, error) {
	s := &Swarm{streams: make([]*stream, n), wake: make(chan struct{}, 1)}
	var (
		wait sync.WaitGroup
		errs = make([]error, n)
		slot = make(chan struct{}, 32)
	)
	for i := range n {
		wait.Go(func() {
			slot <- struct{}{}
			defer func() { <-slot }()
			s.streams[i], errs[i] = open(addr, request)
		})
	}
	wait.Wait()
	s.streams = slices.DeleteFunc(s.streams, func(st *stream) bool { return st == nil })
	for _, st := range s.streams {
		s.readers.Go(func() { s.read(st) })
	}
	if err := errors.Join(errs...); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// open opens one stream.
func open(addr string, request []byte) (*stream, error) {
	conn, err := Dial(addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(grace))
	_, err = conn.Write(request)
	if err == nil {
		var status, length int
		if status, length, err = conn.head(); err == nil && (status != 200 || length != chunked) {
			err = fmt.Errorf("load: subscribe: status %d, length %d", status, length)
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return &stream{conn: conn}, nil
}

// read counts one stream's events until it ends.
func (s *Swarm) read(st *stream) {
	c := st.conn
	if len(c.buf) < 16<<10 {
		c.buf = append(c.buf, make([]byte, 16<<10-len(c.buf))...)
	}
	data := c.buf[c.from:c.to]
	for {
		events, payload, err := st.parser.feed(data)
		st.bytes.Add(int64(payload))
		if events > 0 {
			st.events.Add(int64(events))
			if s.waiting.Load() {
				s.signal()
			}
		}
		var n int
		if err == nil {
			n, err = c.Read(c.buf)
		}
		if err != nil {
			s.fail(err)
			return
		}
		data = c.buf[:n]
	}
}

func (s *Swarm) fail(err error) {
	if s.closing.Load() {
		return
	}
	err = fmt.Errorf("load: a stream ended: %w", err)
	s.failed.CompareAndSwap(nil, &err)
	s.signal()
}

func (s *Swarm) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Len is the number of streams.
func (s *Swarm) Len() int { return len(s.streams) }

// Events is the number of events that have arrived, over all streams.
func (s *Swarm) Events() int64 {
	var sum int64
	for _, st := range s.streams {
		sum += st.events.Load()
	}
	return sum
}

// Bytes is the size of the events that have arrived, without envelopes.
func (s *Swarm) Bytes() int64 {
	var sum int64
	for _, st := range s.streams {
		sum += st.bytes.Load()
	}
	return sum
}

// Slowest is the number of events on the stream that has had the fewest.
func (s *Swarm) Slowest() int64 {
	least := s.streams[0].events.Load()
	for _, st := range s.streams[1:] {
		least = min(least, st.events.Load())
	}
	return least
}

// WaitSlowest blocks until every stream has had at least n events, a stream has
// ended, or ctx is done. Only one caller at a time.
func (s *Swarm) WaitSlowest(ctx context.Context, n int64) error {
	s.waiting.Store(true)
	defer s.waiting.Store(false)
	for {
		if err := s.failed.Load(); err != nil {
			return *err
		}
		if s.Slowest() >= n {
			return nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return fmt.Errorf("load: the slowest stream has %d events of %d: %w", s.Slowest(), n, ctx.Err())
		}
	}
}

// Close ends every stream and waits for the readers.
func (s *Swarm) Close() {
	s.closing.Store(true)
	for _, st := range s.streams {
		_ = st.conn.Close()
	}
	s.readers.Wait()
}
