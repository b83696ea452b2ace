// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"slices"
	"testing"

	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	"pgregory.net/rapid"
)

// TestP25_AnInboxKnowsWhatItHasTaken plays the queue of a sender against the inbox of its
// receiver: messages are taken or not, and signed off or given up whichever it was, in any
// order, and what was given up is tried again at any time. In the end each message has
// taken effect once.
func TestP25_AnInboxKnowsWhatItHasTaken(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type message struct {
			former  []uint64
			effects int
		}
		var (
			inbox      storagev1.Inbox
			last       uint64
			passedOver []uint64 // by the next one
			messages   []*message
			dead       []*message
		)
		deliver := func(m *message, arrives, heard bool) {
			last += uint64(rapid.IntRange(1, 3).Draw(t, "step")) // others are to other receivers
			if arrives {
				taken, forgotten := receive(&inbox, &Postmark{Number: last, FormerNumbers: m.former, PassedOver: passedOver})
				if forgotten {
					t.Fatal("it is forgotten")
				}
				if !taken {
					m.effects++
				}
			}
			if arrives && heard {
				passedOver = nil
				return
			}
			m.former = append(slices.Clip(m.former), last)
			passedOver = append(slices.Clip(passedOver), last)
			dead = append(dead, m)
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			arrives, heard := rapid.Bool().Draw(t, "arrives"), rapid.Bool().Draw(t, "heard")
			if len(dead) > 0 && rapid.Bool().Draw(t, "again") {
				n := rapid.IntRange(0, len(dead)-1).Draw(t, "which")
				m := dead[n]
				dead = slices.Delete(dead, n, n+1)
				deliver(m, arrives, heard)
				continue
			}
			m := new(message)
			messages = append(messages, m)
			deliver(m, arrives, heard)
		}
		for len(dead) > 0 {
			m := dead[0]
			dead = dead[1:]
			deliver(m, true, true)
		}
		for n, m := range messages {
			if m.effects != 1 {
				t.Fatalf("message %d has had %d effects", n, m.effects)
			}
		}
		if len(inbox.GetMissing()) > 0 {
			t.Fatalf("the receiver misses %v", inbox.GetMissing())
		}
	})
}

// TestAnInboxForgets holds that a message which is too old for the receiver to know is
// refused, and not taken for one that was taken.
func TestAnInboxForgets(t *testing.T) {
	t.Parallel()
	inbox := new(storagev1.Inbox)
	receive(inbox, &Postmark{Number: 1})
	var many []uint64
	for n := range uint64(maxMissing + 2) {
		many = append(many, 2+n)
	}
	last := many[len(many)-1]
	receive(inbox, &Postmark{Number: last + 1, PassedOver: many})
	if n := len(inbox.GetMissing()); n != maxMissing {
		t.Errorf("%d are missing, want %d", n, maxMissing)
	}
	for former, want := range map[uint64][2]bool{2: {false, true}, 3: {false, true}, 4: {false, false}, last: {false, false}} {
		last++
		taken, forgotten := receive(inbox, &Postmark{Number: last + 1, FormerNumbers: []uint64{former}})
		if got := [2]bool{taken, forgotten}; got != want {
			t.Errorf("message %d: taken and forgotten are %v, want %v", former, got, want)
		}
	}
}
