// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
)

// texts are what an author's error may say, and no row can keep as it is.
var texts = map[string]string{
	"no UTF-8":            "no \xff",
	"cut within a letter": strings.Repeat("é", 2000) + "a",
	"as long as it likes": strings.Repeat("a", 5<<20),
}

// TestP25_WhateverAReceiverSaysIsKept has a receiver refuse a message in words that
// cannot be kept as they are: the attempts count all the same.
func TestP25_WhateverAReceiverSaysIsKept(t *testing.T) {
	t.Parallel()
	for name, text := range texts {
		for offset := range 2 {
			t.Run(fmt.Sprint(name, " ", offset), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					k, attempts := newKit(t, nil), 0
					k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
						if c.Key()[0] == "a" {
							return c.post("b", 1)
						}
						attempts++
						return actors.Errorf(connect.CodeAborted, "no", "%s%s", strings.Repeat("a", offset), text)
					}
					k.mustAdd("a", 1)
					pass(3 * time.Hour)
					synctest.Wait()
					if attempts != 12 {
						t.Errorf("%d attempts, want 12", attempts)
					}
					dead, err := k.DeadMessages(t.Context(), actors.DeadQuery{Namespace: "default", Limit: 10})
					if err != nil || len(dead) != 1 || !utf8.ValidString(dead[0].LastError) || !strings.HasPrefix(dead[0].LastError, "aborted: ") {
						t.Errorf("the dead list has %d messages, %v", len(dead), err)
					}
				})
			})
		}
	}
}

// TestP29_WhateverARunSaysIsKept does the same with the run of a schedule.
func TestP29_WhateverARunSaysIsKept(t *testing.T) {
	t.Parallel()
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := new(planDiary)
				p := newPlanner(t, nil, d)
				d.acts(func(context.Context, *counter, actors.ScheduleRun) error {
					return actors.Errorf(connect.CodeAborted, "not_yet", "%s", text)
				})
				p.do("a", after(time.Second, actors.Name("job")))
				pass(30 * time.Second)
				if runs := d.take(); len(runs) > 5 {
					t.Errorf("%d attempts in half a minute", len(runs))
				}
				pass(3 * time.Hour)
				got, found := p.schedule("a", "job")
				if !found || got.Status != actors.ScheduleDead || got.Attempts != 12 || !strings.Contains(got.LastError, "not_yet") || !utf8.ValidString(got.LastError) {
					t.Errorf("the schedule has the status %d after %d attempts, its error is %.40q", got.Status, got.Attempts, got.LastError)
				}
			})
		})
	}
}

// unreadableB is a store that cannot read the actor b for a while.
type unreadableB struct {
	store.Store

	down atomic.Bool
}

func (s *unreadableB) Load(ctx context.Context, addr store.Address) (store.Record, error) {
	if addr.Key == "b" && s.down.Load() {
		return store.Record{}, fmt.Errorf("%w: it is away", store.ErrUnavailable)
	}
	return s.Store.Load(ctx, addr)
}

// TestP25_AStoreThatCannotReadTheReceiverKillsNoMessage holds that this is nobody's
// verdict, as it is not when the receiver is at another node.
func TestP25_AStoreThatCannotReadTheReceiverKillsNoMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, l := &unreadableB{Store: memory.New(memory.Options{})}, new(log)
		k := newKit(t, s)
		k.increment = func(_ context.Context, c *counter, req *counterv1.IncrementRequest) error {
			if c.Key()[0] == "a" {
				return c.post("b", 1)
			}
			l.add("b", req.GetAmount())
			return nil
		}
		s.down.Store(true)
		k.mustAdd("a", 1)
		pass(3 * time.Hour)
		l.want(t, "b")
		s.down.Store(false)
		pass(time.Minute)
		l.want(t, "b", 1)
	})
}
