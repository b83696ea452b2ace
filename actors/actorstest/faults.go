// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actorstest

import (
	"errors"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/storetest"
)

// ErrInjected is the failure of a store that failed because the test said so.
var ErrInjected = errors.New("actorstest: injected failure")

// FailNextCommit makes the next commit store nothing and fail with err, nil meaning
// [ErrInjected]: the turns that saw it are undone and answered with aborted. With
// [store.ErrUnknown] the store does not know, and the outcome is UNKNOWN. Calls queue
// up: the second one is for the commit after the next one.
func (s *Server) FailNextCommit(err error) {
	if err == nil {
		err = ErrInjected
	}
	s.store.FailCommit(err)
}

// LoseNextCommit makes the next commit durable, but its answer is lost, so that
// its outcome is UNKNOWN. It queues up with [Server.FailNextCommit].
func (s *Server) LoseNextCommit() { s.store.FailCommitAfter(store.ErrUnknown) }

// FailNextRead makes the store fail the next time that it is read, as it is when an
// actor wakes. An err of nil means [ErrInjected].
func (s *Server) FailNextRead(err error) {
	if err == nil {
		err = ErrInjected
	}
	s.store.FailRead(err)
}

// CrashBeforeCommit makes the server crash, as [Server.Restart] does, when it is
// about to commit for the next time: the commit is lost.
func (s *Server) CrashBeforeCommit() { s.arm(func(l *lifeline) *bool { return &l.before }) }

// CrashAfterCommit makes the server crash, as [Server.Restart] does, once its next
// commit is durable and before anybody hears of it.
func (s *Server) CrashAfterCommit() { s.arm(func(l *lifeline) *bool { return &l.after }) }

func (s *Server) arm(fault func(*lifeline) *bool) {
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node == nil {
		s.tb.Fatal("actorstest: the server is stopped: start it with Restart before arming a crash")
	}
	s.node.lifeline.arm(fault(s.node.lifeline))
}

// HoldCommits keeps every commit that begins from now on from becoming durable, as
// a slow disk does, until the hold is released: turns go on and answers wait. The
// server's end releases it.
func (s *Server) HoldCommits() *storetest.Hold {
	hold := s.store.HoldWaits()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds = append(s.holds, hold)
	return hold
}

// Commits returns how many commits have begun.
func (s *Server) Commits() int { return s.store.Commits() }
