// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

// mailbox is the turns that wait for an actor, in order of arrival: a list linked
// through the turns themselves, so that a caller can leave from the middle. The
// instance bounds its length and refuses the call that would exceed it.
type mailbox struct {
	head, tail *turn
	len        int
	bytes      int // of the requests, as encoded
}

func (m *mailbox) push(t *turn) {
	t.prev, t.next = m.tail, nil
	if m.tail != nil {
		m.tail.next = t
	} else {
		m.head = t
	}
	m.tail = t
	m.len++
	m.bytes += int(t.bytes)
}

func (m *mailbox) remove(t *turn) {
	if t.prev == nil && m.head != t {
		return // not in the mailbox
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		m.head = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		m.tail = t.prev
	}
	t.prev, t.next = nil, nil
	m.len--
	m.bytes -= int(t.bytes)
}
