// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"slices"

	"google.golang.org/protobuf/proto"
)

// connUndo is what a connection was before a turn that may have changed it.
type connUndo struct {
	conn  *Conn
	state []byte // encoded
	tags  []string
	entry *entry // what the turn waits for; nil while it runs
}

// touch notes what the connection is, once for each turn that runs by itself, before
// the author's code gets hold of what it can change.
func (c *Conn) touch() {
	i := c.inst
	i.mu.Lock()
	defer i.mu.Unlock()
	t := i.sole
	if t == nil || c.touched == i.soles {
		return
	}
	c.touched = i.soles
	undo := connUndo{conn: c, tags: c.Tags()}
	if c.state != nil {
		encoded, err := proto.Marshal(c.state)
		if err != nil {
			return // it holds what no message may: nothing to go back to
		}
		undo.state = encoded
	}
	t.undo = append(t.undo, undo)
}

// restore makes the connection what it was. Its state stays the same message, which
// the author may have kept.
func (u *connUndo) restore() {
	if state := u.conn.state; state != nil {
		proto.Reset(state)
		_ = proto.Unmarshal(u.state, state) // our own encoding
	}
	u.conn.mu.Lock()
	defer u.conn.mu.Unlock()
	u.conn.tags = u.tags
}

// undoConns makes the connections what they were before a turn that has failed. No
// other turn runs.
func (t *turn) undoConns() {
	for n := len(t.undo) - 1; n >= 0; n-- {
		t.undo[n].restore()
	}
	t.undo = nil
}

// keepUndoLocked keeps what a turn has noted until what it waits for is durable.
func (i *instance) keepUndoLocked(t *turn) {
	for _, undo := range t.undo {
		undo.entry = i.entry
		i.undo = append(i.undo, undo)
	}
	t.undo = nil
}

// forgetUndoLocked forgets what was noted for turns that are durable.
func (i *instance) forgetUndoLocked(e *entry) {
	if i.undo != nil && !i.undoDue {
		i.undo = slices.DeleteFunc(i.undo, func(u connUndo) bool { return u.entry == e })
	}
	if len(i.undo) == 0 {
		i.undo = nil
	}
}

// undoConnsLocked makes the connections what they were before turns that could not be
// stored. It waits for a turn that runs by itself to begin: until then nobody looks.
func (i *instance) undoConnsLocked() {
	if !i.undoDue {
		return
	}
	for n := len(i.undo) - 1; n >= 0; n-- {
		i.undo[n].restore()
	}
	i.undo, i.undoDue = nil, false
}
