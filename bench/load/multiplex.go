// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// HTTP/2 as RFC 9113 numbers it: just what a client of one method needs.
const (
	frameHead = 9

	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8

	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4

	settingHeaderTableSize = 1
	settingEnablePush      = 2

	// window is given back to the server whenever that much has been read.
	window = 32 << 10
)

// Multiplex is a fixed number of h2c connections with a fixed number of calls in
// flight on each. One goroutine drives a connection. Only one run at a time.
type Multiplex struct {
	conns    []*muxConn
	inFlight int
}

// NewMultiplex opens n connections to addr.
func NewMultiplex(addr string, n, inFlight int) (*Multiplex, error) {
	m := &Multiplex{inFlight: inFlight}
	for range n {
		c, err := dialMux(addr)
		if err != nil {
			return nil, errors.Join(err, m.Close())
		}
		m.conns = append(m.conns, c)
	}
	return m, nil
}

// Close closes the connections.
func (m *Multiplex) Close() error {
	var err error
	for _, c := range m.conns {
		err = errors.Join(err, c.conn.Close())
	}
	return err
}

// Run makes calls in a closed loop for a duration; request gives the n-th one.
func (m *Multiplex) Run(duration time.Duration, request func(n int64) *Request) Result {
	var (
		next    atomic.Int64
		wait    sync.WaitGroup
		start   = time.Now()
		results = make([]Result, len(m.conns))
	)
	for i, c := range m.conns {
		wait.Go(func() {
			r := &results[i]
			r.Latency = &Histogram{}
			if err := c.run(start.Add(duration), m.inFlight, func() *Request { return request(next.Add(1) - 1) }, r); err != nil {
				r.Errors++
				r.Err = err
			}
		})
	}
	wait.Wait()
	total := Result{Elapsed: time.Since(start), Latency: &Histogram{}}
	for i := range results {
		r := &results[i]
		total.Calls += int64(r.Latency.Count())
		total.Errors += r.Errors
		if total.Err == nil {
			total.Err = r.Err
		}
		total.Latency.Merge(r.Latency)
	}
	return total
}

// muxConn is one h2c connection.
type muxConn struct {
	conn   *Conn
	out    []byte
	stream uint32
	// indexed holds the fields that the server's dynamic table has, in the
	// order in which they were put there.
	indexed []string
	// read counts the bytes of bodies since the last window update.
	read int
}

// call is one call in flight.
type call struct {
	began time.Time
	ok    bool
	body  []byte
}

func dialMux(addr string) (*muxConn, error) {
	conn, err := Dial(addr)
	if err != nil {
		return nil, err
	}
	conn.buf = make([]byte, 32<<10)
	c := &muxConn{conn: conn, stream: 1}
	c.out = append(c.out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"...)
	// No dynamic table for what we receive: a status can then be read without
	// keeping one.
	c.frame(frameSettings, 0, 0, 12)
	c.out = binary.BigEndian.AppendUint16(c.out, settingHeaderTableSize)
	c.out = binary.BigEndian.AppendUint32(c.out, 0)
	c.out = binary.BigEndian.AppendUint16(c.out, settingEnablePush)
	c.out = binary.BigEndian.AppendUint32(c.out, 0)
	return c, nil
}

// frame appends a frame's head.
func (c *muxConn) frame(kind, flags byte, stream uint32, length int) {
	c.out = append(c.out, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	c.out = binary.BigEndian.AppendUint32(c.out, stream)
}

// run keeps inFlight calls in flight until end and then waits for the last ones.
func (c *muxConn) run(end time.Time, inFlight int, next func() *Request, r *Result) error {
	if err := c.conn.SetDeadline(end.Add(grace)); err != nil {
		return err
	}
	calls := make(map[uint32]*call, inFlight)
	now := time.Now()
	for range inFlight {
		c.send(next(), calls, &call{began: now})
	}
	for len(calls) > 0 {
		if len(c.out) > 0 {
			if _, err := c.conn.Write(c.out); err != nil {
				return err
			}
			c.out = c.out[:0]
		}
		if err := c.conn.fill(); err != nil {
			return err
		}
		now = time.Now()
		for {
			kind, flags, stream, payload, ok := c.next()
			if !ok {
				break
			}
			done, err := c.receive(kind, flags, payload, calls[stream])
			if err != nil {
				return err
			}
			if !done || calls[stream] == nil {
				continue
			}
			finished := calls[stream]
			delete(calls, stream)
			if finished.ok {
				r.Latency.Record(now.Sub(finished.began))
			} else {
				r.Errors++
				r.Err = fmt.Errorf("load: a call failed: %.300s", finished.body)
			}
			if now.Before(end) {
				*finished = call{began: now}
				c.send(next(), calls, finished)
			}
		}
	}
	return nil
}

// next takes one whole frame out of what has been read.
func (c *muxConn) next() (kind, flags byte, stream uint32, payload []byte, ok bool) {
	data := c.conn.buf[c.conn.from:c.conn.to]
	if len(data) < frameHead {
		return 0, 0, 0, nil, false
	}
	length := int(data[0])<<16 | int(data[1])<<8 | int(data[2])
	if len(data) < frameHead+length {
		return 0, 0, 0, nil, false
	}
	c.conn.from += frameHead + length
	return data[3], data[4], binary.BigEndian.Uint32(data[5:]) &^ (1 << 31), data[frameHead : frameHead+length], true
}

// receive handles a frame and says whether its stream is done.
func (c *muxConn) receive(kind, flags byte, payload []byte, call *call) (done bool, err error) {
	switch kind {
	case frameHeaders:
		// Possibly a table size update first, then 0x88: ":status: 200".
		block := payload
		for len(block) > 0 && block[0]>>5 == 1 {
			block = block[1:]
		}
		if call != nil && len(block) > 0 && block[0] == 0x88 {
			call.ok = true
		}
		return flags&flagEndStream != 0, nil
	case frameData:
		if c.read += len(payload); c.read >= window {
			c.frame(frameWindowUpdate, 0, 0, 4)
			c.out = binary.BigEndian.AppendUint32(c.out, uint32(c.read))
			c.read = 0
		}
		if call != nil && !call.ok {
			call.body = append(call.body, payload...)
		}
		return flags&flagEndStream != 0, nil
	case frameReset:
		if call != nil {
			call.ok = false
		}
		return true, nil
	case frameSettings:
		if flags&flagAck == 0 {
			c.frame(frameSettings, flagAck, 0, 0)
		}
	case framePing:
		if flags&flagAck == 0 {
			c.frame(framePing, flagAck, 0, len(payload))
			c.out = append(c.out, payload...)
		}
	case frameGoAway:
		return false, fmt.Errorf("load: the server closes the connection: %q: %w", payload, net.ErrClosed)
	}
	return false, nil
}

// send queues one call.
func (c *muxConn) send(r *Request, calls map[uint32]*call, call *call) {
	calls[c.stream] = call
	head := len(c.out)
	c.frame(frameHeaders, flagEndHeaders, c.stream, 0)
	c.out = append(c.out, 0x83, 0x86) // :method: POST, :scheme: http
	c.field(0x04, ":path", r.Procedure)
	c.field(0x01, ":authority", "localhost")
	for _, f := range r.fields() {
		c.field(0, strings.ToLower(f[0]), f[1])
	}
	length := len(c.out) - head - frameHead
	c.out[head], c.out[head+1], c.out[head+2] = byte(length>>16), byte(length>>8), byte(length)
	body := r.body()
	c.frame(frameData, flagEndStream, c.stream, len(body))
	c.out = append(c.out, body...)
	c.stream += 2
}

// field appends one header field: the actor's key and the path as literals, the
// rest as indices into the dynamic table, where the first call put it, as real
// clients do.
func (c *muxConn) field(nameIndex byte, name, value string) {
	if name != "actor-key" && name != ":path" {
		entry := name + "\x00" + value
		for i, have := range c.indexed {
			if have == entry {
				c.out = append(c.out, 0x80|byte(62+len(c.indexed)-1-i))
				return
			}
		}
		c.indexed = append(c.indexed, entry)
		nameIndex |= 0x40
	}
	c.out = append(c.out, nameIndex)
	if nameIndex&0x3f == 0 {
		c.text(name)
	}
	c.text(value)
}

// text appends a string literal without Huffman coding.
func (c *muxConn) text(s string) {
	if len(s) < 127 {
		c.out = append(c.out, byte(len(s)))
	} else {
		c.out = append(c.out, 127)
		rest := len(s) - 127
		for ; rest >= 128; rest >>= 7 {
			c.out = append(c.out, byte(rest)|0x80)
		}
		c.out = append(c.out, byte(rest))
	}
	c.out = append(c.out, s...)
}
