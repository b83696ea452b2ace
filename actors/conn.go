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
	cursors string   // what its cursors begin with
	filter  eventFilter
	from    uint64 // the number of the event that it began after
	touched uint64 // guarded by inst.mu; the sole turn that has noted what it is

	mu       sync.Mutex
	queue    []*Frame     // guarded by mu; waits for the stream's goroutine
	bytes    int          // guarded by mu; of queue
	taken    atomic.Int32 // frames that the stream's goroutine holds
	closing  *closing     // guarded by mu; set once
	tags     []string     // guarded by mu
	signaled chan struct{}

	// behind says that the stream's goroutine reads numbered events from the log:
	// they do not enter the queue until it has come up to logged.
	behind  bool         // guarded by mu
	logged  uint64       // guarded by mu; the newest number that was pushed, wanted or not
	skipped atomic.Int32 // numbered events, not wanted, since the last frame
	burst   uint64       // guarded by mu; the last delivery that found the queue empty
}

// closing is why and how the server ends a stream.
type closing struct {
	reason         troupev1.CloseReason
	message        string
	reconnectAfter time.Duration // negative: do not
	code           string
}

// ID returns the connection's id, unique among all connections.
func (c *Conn) ID() string { return c.id }

// Subject returns who opened the connection; empty is anonymous.
func (c *Conn) Subject() string { return c.subject }

// Params returns the connection's parameters: the request of its subscription.
// They must not be changed.
func (c *Conn) Params() proto.Message { return c.params }

// StateOf returns the connection's state, which a writing turn may change. It is
// nil without a [CreateConnState] hook. It lives in memory only; a turn that fails
// leaves it as it was before.
func StateOf[C proto.Message](c *Conn) C {
	c.touch()
	state, _ := c.state.(C)
	return state
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
		cursors:  inst.cursors,
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

// push adds the frames of one delivery, or some of them, to the connection's
// buffer. It cuts a connection whose buffer is full unless the buffer was empty
// when the delivery began. It never blocks.
func (c *Conn) push(delivery uint64, frames ...*Frame) {
	c.mu.Lock()
	if len(c.queue) == 0 {
		c.burst = delivery
	}
	news := false
	for _, frame := range frames {
		if c.closing != nil {
			break
		}
		if frame.numbered {
			c.logged = frame.head
			if c.behind {
				news = true
				continue
			}
		}
		if !c.filter.wants(frame.field) {
			if frame.numbered {
				news = c.skipped.Add(1) == skippedFrames || news
			}
			continue
		}
		news = true
		c.coalesceLocked(frame.slot)
		if c.burst != delivery && c.overflowsLocked(frame) {
			if seedbug.On(11) {
				continue
			}
			c.cutLocked()
			break
		}
		c.queue = append(c.queue, frame)
		c.bytes += frame.size()
	}
	c.mu.Unlock()
	if news {
		c.signal()
	}
}

func (c *Conn) overflowsLocked(frame *Frame) bool {
	limits := &c.inst.typ.limits
	return len(c.queue)+int(c.taken.Load()) >= limits.bufferEvents || c.bytes+frame.size() > limits.bufferBytes && c.bytes > 0
}

// cutLocked gives up a connection that does not keep up.
func (c *Conn) cutLocked() {
	if c.closing == nil {
		c.closing = &closing{reason: troupev1.CloseReason_CLOSE_REASON_SLOW, message: "the subscriber does not read fast enough"}
	}
	if len(c.queue) > 0 && c.queue[0].field == 0 {
		c.queue, c.bytes = c.queue[:1], 0 // it opens the stream
		return
	}
	c.queue, c.bytes = nil, 0
}

// coalesceLocked takes a frame that still waits out of the queue if the one that
// follows replaces it.
func (c *Conn) coalesceLocked(s slot) {
	if s == (slot{}) {
		return
	}
	for n, frame := range c.queue {
		if frame.slot == s {
			c.bytes -= frame.size()
			c.queue = slices.Delete(c.queue, n, n+1)
			return // there is never more than one
		}
	}
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

// passed returns the number of the newest event that has come by.
func (c *Conn) passed() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.logged
}

// waits reports whether something waits for the stream's goroutine.
func (c *Conn) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) > 0 || c.closing != nil
}

// sent tells that one of the frames taken is on its way.
func (c *Conn) sent() { c.taken.Add(-1) }

// delivery is one frame and whom it goes to, or whom it disconnects.
type delivery struct {
	frame   *Frame
	to      []*Conn
	except  *Conn
	closing *closing // instead of a frame
}

// deliverySerial numbers what is delivered at once.
var deliverySerial atomic.Uint64

// deliver hands frames to the buffers of their connections: all frames of one
// audience at a time, so that a burst costs each connection one lock.
func deliver(deliveries []delivery) {
	if len(deliveries) == 0 {
		return
	}
	serial := deliverySerial.Add(1)
	var frames []*Frame
	for i := 0; i < len(deliveries); {
		d := deliveries[i]
		if d.closing != nil {
			for _, conn := range d.to {
				conn.close(*d.closing)
			}
			i++
			continue
		}
		frames = append(frames[:0], d.frame)
		j := i + 1
		for ; j < len(deliveries) && d.except == nil && sameAudience(d, deliveries[j]); j++ {
			frames = append(frames, deliveries[j].frame)
		}
		for _, conn := range d.to {
			if conn != d.except {
				conn.push(serial, frames...)
			}
		}
		i = j
	}
}

func sameAudience(a, b delivery) bool {
	return b.closing == nil && b.except == nil && len(a.to) == len(b.to) && len(a.to) > 0 && &a.to[0] == &b.to[0]
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
