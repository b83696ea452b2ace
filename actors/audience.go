// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"slices"

	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// BroadcastTo publishes an event to the connections that have a tag now. As with
// [Actor.SendTo] it never enters the durable log.
func (a *Actor[State, Event]) BroadcastTo(tag string, event Event) {
	a.BroadcastWhere(func(conn *Conn) bool { return conn.HasTag(tag) }, event)
}

// BroadcastWhere publishes an event to the connections that match accepts, which is
// called for each of them at once. As with [Actor.SendTo] it never enters the
// durable log.
func (a *Actor[State, Event]) BroadcastWhere(match func(*Conn) bool, event Event) {
	conns := slices.DeleteFunc(a.Conns(), func(conn *Conn) bool { return !match(conn) })
	a.body.publish("BroadcastWhere", event, audience{targeted: true, to: conns})
}

// SetTags gives the connection tags in place of those it had. Like its state they
// live in memory only; a turn that fails leaves them as they were before.
func (c *Conn) SetTags(tags ...string) {
	c.touch()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tags = slices.Clone(tags)
}

// Tags returns the connection's tags.
func (c *Conn) Tags() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.tags)
}

// HasTag reports whether the connection has a tag.
func (c *Conn) HasTag(tag string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.tags, tag)
}

// Disconnect ends the connection when the writing turn that runs is durable, after
// everything that was sent to it before; outside a writing turn at once. Code is a
// short constant in snake_case that programs can branch on, message is for people;
// both may be empty. The client does not reconnect by itself.
func (c *Conn) Disconnect(code, message string) {
	why := closing{reason: troupev1.CloseReason_CLOSE_REASON_DISCONNECTED, message: message, reconnectAfter: -1, code: code}
	i := c.inst
	i.mu.Lock()
	b := i.body
	if b == nil && i.sole != nil {
		b = i.sole.waking
	}
	i.mu.Unlock()
	if b == nil || !insideTurn() || b.turn == nil {
		c.close(why)
		return
	}
	b.turn.events = append(b.turn.events, pendingEvent{targeted: true, to: []*Conn{c}, closing: &why})
}
