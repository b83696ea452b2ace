// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"time"

	"github.com/troupe-dev/troupe/actors"
)

// fairness bounds what one address may ask of one actor, so that a single client
// cannot fill the actor's mailbox. The nil fairness bounds nothing.
type fairness struct {
	calls *shares
	rate  *rateLimit
}

// burstShare is which part of a minute's requests may come at once.
const burstShare = 12

func newFairness(limits Limits) *fairness {
	f := &fairness{
		calls: newShares(limits.CallsPerIPAndActor),
		rate:  newRateLimit(limits.RatePerIPAndActor, limits.RatePerIPAndActor/burstShare),
	}
	if f.rate == nil && f.calls.limit == 0 {
		return nil
	}
	return f
}

// count counts a request of peer, or refuses it.
func (f *fairness) count(target *actors.Target, peer string) (key uint64, err error) {
	if f == nil {
		return 0, nil
	}
	address := &target.Address
	if target.ID.IsZero() {
		key = hashKey(clientNetwork(peer), address.Namespace, address.Type, address.Key)
	} else {
		key = hashKey(clientNetwork(peer), address.Namespace, target.ID.String())
	}
	if f.rate != nil {
		if wait := f.rate.take(key, time.Now()); wait > 0 {
			return 0, retryAfter(rateLimited.errorf("this address calls the actor too often"), wait)
		}
	}
	return key, nil
}

// enter counts a call of peer and gives it a place, or refuses it. Leave must
// follow.
func (f *fairness) enter(target *actors.Target, peer string) (key uint64, err error) {
	if f == nil {
		return 0, nil
	}
	if key, err = f.count(target, peer); err != nil {
		return 0, err
	}
	if !f.calls.enter(key) {
		return 0, retryAfter(callsOfAddress.errorf("this address has %d calls of the actor in flight", f.calls.limit), busyDelay)
	}
	return key, nil
}

func (f *fairness) leave(key uint64) {
	if f != nil {
		f.calls.leave(key)
	}
}

// enterPrincipal gives a request's principal a place, or reports that there is none.
// Who has no subject needs none: the key is 0 then.
func (s *shares) enterPrincipal(ctx context.Context) (key uint64, ok bool) {
	if s.limit == 0 {
		return 0, true
	}
	subject := principalOf(ctx).subject()
	if subject == "" {
		return 0, true
	}
	key = hashKey(subject)
	return key, s.enter(key)
}

// leavePrincipal is the end of [shares.enterPrincipal].
func (s *shares) leavePrincipal(key uint64) {
	if key != 0 {
		s.leave(key)
	}
}
