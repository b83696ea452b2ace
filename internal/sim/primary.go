// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"time"

	"github.com/troupe-dev/troupe/actors/placement/cluster"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
	"github.com/troupe-dev/troupe/internal/seedbug"
)

// primary is the database that is written to at present: the authority and the store
// with its fence.
type primary struct {
	table   *placementtest.Table
	rate    float64       // of its clock
	began   time.Duration // when its clock showed zero, in real time
	shown   time.Duration // what it showed then
	history []version
}

// version is what the database was at a time.
type version struct {
	at    time.Duration
	table *placementtest.Table
}

func (w *world) newPrimary(table *placementtest.Table, shown time.Duration) *primary {
	return &primary{table: table, rate: w.rate(), began: w.now, shown: shown}
}

// clock is the time as the database has it.
func (p *primary) clock(now time.Duration) time.Duration {
	return p.shown + time.Duration(float64(now-p.began)*p.rate)
}

// rate is how fast a clock runs: up to a twentieth too fast or too slow.
func (w *world) rate() float64 { return 0.95 + 0.1*w.rand.Float64() }

// keep remembers what the database was, for a failover, unless it did so just now.
func (w *world) keep(apart time.Duration) {
	p := w.primary
	if last := len(p.history) - 1; !w.cfg.Failovers || last >= 0 && w.now-p.history[last].at < apart {
		return
	}
	p.history = append(p.history, version{w.now, p.table.Clone()})
	if len(p.history) > 64 {
		p.history = p.history[1:]
	}
}

// ask has the database answer. A request that was on its way to a database that has
// been replaced is lost.
func (w *world) ask(p *primary, q cluster.Request) (cluster.Answer, error, bool) {
	if p != w.primary {
		return cluster.Answer{}, nil, false
	}
	answer, err := p.table.Ask(p.clock(w.now), q)
	w.asked[q.Op]++
	switch q.Op {
	case cluster.Claim, cluster.Hand:
		for s := range w.cfg.Shards {
			_, epoch := p.table.Holder(s)
			if epoch != w.epochs[s] {
				w.epochs[s] = epoch
				w.Moves++
			}
		}
		w.keep(0)
	case cluster.Join, cluster.Leave:
		w.keep(0)
	case cluster.Beat:
		w.keep(500 * time.Millisecond)
	default:
	}
	return answer, err, true
}

// failover replaces the database by a copy that may lack its last seconds. Its clock
// is another one too.
func (w *world) failover() {
	old := w.primary
	lost := w.between(0, 8*time.Second)
	table := old.table
	for i := len(old.history) - 1; i >= 0 && old.history[i].at > w.now-lost; i-- {
		table = old.history[i].table
	}
	table = table.Clone()
	w.Failovers++
	shown := old.clock(w.now) + w.between(-time.Minute, time.Minute)
	table.Fail(shown, old.table.Generation()+1)
	w.primary = w.newPrimary(table, shown)
	w.trace("failover: the last %v are lost", lost)
}

// commit is a commit of a turn on its way.
type commit struct {
	node  *node
	stay  string
	shard uint16
}

// arrive is the commit at the store. The fence and the write are one instant there,
// since the fence is a lock.
func (w *world) arrive(p *primary, c commit, settled func()) {
	if p != w.primary {
		settled()
		return
	}
	stay := c.stay
	if seedbug.On(22) {
		stay = c.node.machine.Self().ID
	}
	if !p.table.MayCommit(stay) {
		w.Refused++
		settled()
		return
	}
	write := func() {
		if owner, epoch := p.table.Holder(c.shard); owner != c.stay && p == w.primary {
			w.fault("%s commits to shard %d, which %q holds under epoch %d", c.stay, c.shard, owner, epoch)
		}
		w.Commits++
		settled()
	}
	if seedbug.On(2) { // looked, but did not hold on
		w.after(w.latency(), write)
		return
	}
	write()
}
