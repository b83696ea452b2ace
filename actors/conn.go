// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/seedbug"
	"google.golang.org/protobuf/proto"
)

// Bounds of a subscriber's buffer: frames that wait for its socket.
const (
	connBufferFrames = 256
	connBufferBytes  = 1 << 20
)

// Conn is an open connection: one subscription stream. It belongs to its actor and
// lives while the stream is open, in memory, also while the actor sleeps.
type Conn struct {
	id      string
	secret  string
	subject string
	params  proto.Message
	state   proto.Message
	inst    *instance
	actor   store.ID // the incarnation that opened it

	mu       sync.Mutex
	queue    []*Frame     // guarded by mu; waits for the stream's goroutine
	bytes    int          // guarded by mu; of queue
	taken    atomic.Int32 // frames that the stream's goroutine holds
	closing  *closing     // guarded by mu; set once
	signaled chan struct{}
}

// closing is why and how the server ends a stream.
type closing struct {
	reason         troupev1.CloseReason
	message        string
	reconnectAfter time.Duration // negative: do not
}

// ID returns the connection's id, unique among all connections.
func (c *Conn) ID() string { return c.id }

// Subject returns who opened the connection; empty is anonymous.
func (c *Conn) Subject() string { return c.subject }

// Params returns the connection's parameters: the request of its subscription.
// They must not be changed.
func (c *Conn) Params() proto.Message { return c.params }

// StateOf returns the connection's state, which a writing turn may change. It is
// nil without a [CreateConnState] hook. It lives in memory only, and a turn that
// fails does not restore it.
func StateOf[C proto.Message](c *Conn) C {
	state, _ := c.state.(C)
	return state
}

// Disconnect ends the connection with a message for people. What was sent to it
// before is delivered first. The client does not reconnect by itself.
func (c *Conn) Disconnect(message string) {
	c.close(closing{troupev1.CloseReason_CLOSE_REASON_DISCONNECTED, message, -1})
}

func newConn(inst *instance, subject string, params proto.Message) *Conn {
	var secret [16]byte
	_, _ = rand.Read(secret[:]) // never fails: see crypto/rand
	return &Conn{
		id:       rand.Text(),
		secret:   hex.EncodeToString(secret[:]),
		subject:  subject,
		params:   params,
		inst:     inst,
		actor:    inst.id,
		signaled: make(chan struct{}, 1),
	}
}

// token is what a call carries to belong to the connection.
func (c *Conn) token() string { return c.id + "." + c.secret }

// owns reports whether token and subject are the connection's own.
func (c *Conn) owns(token, subject string) bool {
	_, secret, _ := strings.Cut(token, ".")
	return subtle.ConstantTimeCompare([]byte(secret), []byte(c.secret)) == 1 && subject == c.subject
}

// push adds frames to the connection's buffer, or cuts a connection whose buffer
// is full. It never blocks.
func (c *Conn) push(frames ...*Frame) {
	c.mu.Lock()
	for _, frame := range frames {
		if c.closing != nil {
			break
		}
		if len(c.queue)+int(c.taken.Load()) >= connBufferFrames || c.bytes+frame.size() > connBufferBytes && c.bytes > 0 {
			if seedbug.On(11) {
				continue
			}
			c.closing = &closing{troupev1.CloseReason_CLOSE_REASON_SLOW, "the subscriber does not read fast enough", 0}
			c.queue, c.bytes = nil, 0
			break
		}
		c.queue = append(c.queue, frame)
		c.bytes += frame.size()
	}
	c.mu.Unlock()
	c.signal()
}

func (c *Conn) close(why closing) {
	c.mu.Lock()
	if c.closing == nil {
		c.closing = &why
	}
	c.mu.Unlock()
	c.signal()
}

func (c *Conn) signal() {
	select {
	case c.signaled <- struct{}{}:
	default:
	}
}

// take gives what waits to the stream's goroutine, which gives back the slice it
// has used up. Closing is set when nothing will follow.
func (c *Conn) take(used []*Frame) (frames []*Frame, why *closing) {
	clear(used)
	c.mu.Lock()
	defer c.mu.Unlock()
	frames, c.queue = c.queue, used[:0]
	if cap(c.queue) > 32 && len(frames) < 8 {
		c.queue = nil // a burst is over: give its memory back
	}
	c.bytes = 0
	c.taken.Store(int32(len(frames)))
	return frames, c.closing
}

// waits reports whether something waits for the stream's goroutine.
func (c *Conn) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0 || c.closing != nil
}

// sent tells that one of the frames taken is on its way.
func (c *Conn) sent() { c.taken.Add(-1) }

// delivery is one frame and whom it goes to.
type delivery struct {
	frame  *Frame
	to     []*Conn
	except *Conn
}

// deliver hands frames to the buffers of their connections: all frames of one
// audience at a time, so that a burst costs each connection one lock.
func deliver(deliveries []delivery) {
	var frames []*Frame
	for i := 0; i < len(deliveries); {
		d := deliveries[i]
		frames = append(frames[:0], d.frame)
		j := i + 1
		for ; j < len(deliveries) && d.except == nil && sameAudience(d, deliveries[j]); j++ {
			frames = append(frames, deliveries[j].frame)
		}
		for _, conn := range d.to {
			if conn != d.except {
				conn.push(frames...)
			}
		}
		i = j
	}
}

func sameAudience(a, b delivery) bool {
	return b.except == nil && len(a.to) == len(b.to) && len(a.to) > 0 && &a.to[0] == &b.to[0]
}

// without returns conns less one, in a slice of its own: turns that have captured
// the old slice still deliver to it.
func without(conns []*Conn, conn *Conn) []*Conn {
	i := slices.Index(conns, conn)
	if i < 0 {
		return conns
	}
	return slices.Delete(slices.Clone(conns), i, i+1)
}
