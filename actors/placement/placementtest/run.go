// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placementtest

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// Site is an authority that the suite works on, and which nothing else uses.
type Site interface {
	// Process returns the authority of a further process, and the id of its first
	// stay.
	Process(t testing.TB) (authority cluster.Authority, id string)

	// MayCommit is the fence of the store: whether a commit of a stay would be taken.
	MayCommit(t testing.TB, stay string) bool
}

// Run runs the suite. site is called once for each test.
func Run(t *testing.T, site func(t testing.TB, cfg cluster.Config) Site) {
	for _, test := range []struct {
		name string
		ttl  time.Duration
		run  func(*suite)
	}{
		{"Join", time.Minute, testJoin},
		{"Claim", time.Minute, testClaim},
		{"ClaimRace", time.Minute, testClaimRace},
		{"Hand", time.Minute, testHand},
		{"Leave", time.Minute, testLeave},
		{"Cordon", time.Minute, testCordon},
		{"Load", time.Minute, testLoad},
		{"Rebalance", time.Minute, testRebalance},
		{"Expiry", time.Second, testExpiry},
		{"Members", 2 * time.Second, testMembers},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cfg := cluster.Config{Shards: 64, TTL: test.ttl}
			test.run(&suite{T: t, cfg: cfg, site: site(t, cfg)})
		})
	}
}

type suite struct {
	*testing.T
	cfg  cluster.Config
	site Site
}

// stay is a node that has joined, driven by hand.
type stay struct {
	s          *suite
	authority  cluster.Authority
	node       placement.Node
	generation uint64
}

// join adds a node that has beaten once.
func (s *suite) join() *stay {
	s.Helper()
	authority, id := s.site.Process(s)
	n := &stay{s: s, authority: authority, node: placement.Node{ID: id, Address: "host:1", Version: 3, Labels: map[string]string{"zone": "a"}}}
	answer := n.must(cluster.Request{Op: cluster.Join})
	if answer.ID != "" {
		n.node.ID = answer.ID
	}
	n.generation = answer.Generation
	n.beat(false)
	return n
}

func (n *stay) ask(q cluster.Request) (cluster.Answer, error) {
	q.Node = n.node
	return n.authority.Ask(n.s.Context(), q)
}

func (n *stay) must(q cluster.Request) cluster.Answer {
	n.s.Helper()
	answer, err := n.ask(q)
	if err != nil {
		n.s.Fatalf("request %d: %v", q.Op, err)
	}
	return answer
}

func (n *stay) beat(draining bool) {
	n.s.Helper()
	n.must(cluster.Request{Op: cluster.Beat, Generation: n.generation, Draining: draining})
}

func (n *stay) claim(limit int) []cluster.Grant {
	n.s.Helper()
	return n.must(cluster.Request{Op: cluster.Claim, Limit: limit}).Held
}

func (n *stay) held() []cluster.Grant {
	n.s.Helper()
	return n.must(cluster.Request{Op: cluster.List}).Held
}

// refused holds that a request is refused with an error of the seam.
func (n *stay) refused(q cluster.Request, want error) {
	n.s.Helper()
	if _, err := n.ask(q); !errors.Is(err, want) {
		n.s.Errorf("request %d: error %v, want %v", q.Op, err, want)
	}
}

// given is how many shards a node gets when it asks for some; none if its stay has ended.
func (n *stay) given() int {
	answer, err := n.ask(cluster.Request{Op: cluster.Claim, Limit: 64})
	if err != nil && !errors.Is(err, cluster.ErrDead) {
		n.s.Error(err)
	}
	return len(answer.Held)
}

func testJoin(s *suite) {
	authority, id := s.site.Process(s)
	self := placement.Node{ID: id, Address: "host:1", Version: 1 << 40, Labels: map[string]string{"zone": "a"}}
	a := &stay{s: s, authority: authority, node: self}
	a.refused(cluster.Request{Op: cluster.Beat}, cluster.ErrDead)
	answer := a.must(cluster.Request{Op: cluster.Join})
	if answer.ID != "" {
		a.node.ID = answer.ID
	}
	a.generation = answer.Generation
	status := func() placement.NodeStatus {
		s.Helper()
		view := a.must(cluster.Request{Op: cluster.View})
		if view.Orphans != 64 || len(view.Nodes) != 1 {
			s.Fatalf("view: %+v", view)
		}
		return view.Nodes[0]
	}
	if n := status(); !n.Draining {
		s.Errorf("a node that has heard nothing yet is counted on: %+v", n)
	}
	a.must(cluster.Request{Op: cluster.Beat, Generation: a.generation + 1}) // renews nothing
	if n := status(); !n.Draining {
		s.Errorf("a node of another generation is counted on: %+v", n)
	}
	a.beat(false)
	n := status()
	if n.Draining || n.ID != a.node.ID || n.Address != self.Address || n.Version != self.Version ||
		n.Labels["zone"] != "a" || n.LeaseMillis <= 0 || n.LeaseMillis > 60_000 || n.Shards != 0 {
		s.Errorf("status: %+v", n)
	}
	if !s.site.MayCommit(s, a.node.ID) {
		s.Error("a node that is alive may not commit")
	}
}

func testClaim(s *suite) {
	a, b := s.join(), s.join()
	first := a.claim(10)
	if len(first) != 10 {
		s.Fatalf("claimed %d of 10", len(first))
	}
	for _, g := range first {
		if g.Epoch == 0 {
			s.Errorf("shard %d under epoch 0", g.Shard)
		}
	}
	if rest := b.claim(1000); len(rest) != 54 {
		s.Errorf("claimed %d of the 54 that were left", len(rest))
	}
	if more := a.claim(1000); len(more) != 0 {
		s.Errorf("took %d shards from a node that is alive", len(more))
	}
	if !same(a.held(), first) {
		s.Errorf("holds %v, has claimed %v", a.held(), first)
	}
	view := a.must(cluster.Request{Op: cluster.View})
	if view.Orphans != 0 || len(view.Nodes) != 2 || view.Nodes[0].Shards+view.Nodes[1].Shards != 64 {
		s.Errorf("view: %+v", view)
	}
	found := b.must(cluster.Request{Op: cluster.Find, Shards: []uint16{first[0].Shard, first[1].Shard}}).Found
	if len(found) != 2 || found[0].Node.ID != a.node.ID || found[0].Node.Address != "host:1" || found[0].Epoch == 0 {
		s.Errorf("found %+v", found)
	}
}

func testClaimRace(s *suite) {
	const nodes = 6
	var mu sync.Mutex // guards claimed
	claimed := make(map[uint16]int)
	var racing sync.WaitGroup
	for range nodes {
		n := s.join()
		racing.Go(func() {
			for { // until nothing is left, for others may hold locks on what is
				answer, err := n.ask(cluster.Request{Op: cluster.Claim, Limit: 5})
				if err != nil {
					s.Error(err)
					return
				}
				mu.Lock()
				for _, g := range answer.Held {
					claimed[g.Shard]++
				}
				done := len(claimed) == 64
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	racing.Wait()
	for shard, times := range claimed {
		if times != 1 {
			s.Errorf("shard %d was claimed %d times", shard, times)
		}
	}
}

func testHand(s *suite) {
	a, b, c := s.join(), s.join(), s.join()
	all := a.claim(64)
	if len(all) != 64 {
		s.Fatalf("claimed %d of 64", len(all))
	}
	give := all[:4]
	stale := []cluster.Grant{{Shard: all[5].Shard, Epoch: all[5].Epoch + 1}}
	a.must(cluster.Request{Op: cluster.Hand, Grants: stale, To: b.node.ID})
	b.must(cluster.Request{Op: cluster.Hand, Grants: give, To: c.node.ID}) // not b's
	if got := len(b.held()) + len(c.held()); got != 0 {
		s.Errorf("%d shards moved by hands that do not hold them", got)
	}
	for range 2 { // the second time, nothing is left to hand over
		a.must(cluster.Request{Op: cluster.Hand, Grants: give, To: b.node.ID})
	}
	got := b.held()
	if len(got) != 4 {
		s.Fatalf("handed over %d of 4", len(got))
	}
	for i, g := range got {
		if g.Shard != give[i].Shard || g.Epoch != give[i].Epoch+1 {
			s.Errorf("handed over %+v as %+v", give[i], g)
		}
	}
	c.beat(true)
	a.refused(cluster.Request{Op: cluster.Hand, Grants: all[4:6], To: c.node.ID}, cluster.ErrReceiver)
	c.must(cluster.Request{Op: cluster.Leave})
	a.refused(cluster.Request{Op: cluster.Hand, Grants: all[4:6], To: c.node.ID}, cluster.ErrReceiver)
	a.must(cluster.Request{Op: cluster.Hand, Grants: all[4:6]})
	if view := a.must(cluster.Request{Op: cluster.View}); view.Orphans != 2 {
		s.Errorf("%d orphans", view.Orphans)
	}
	if found := a.must(cluster.Request{Op: cluster.Find, Shards: []uint16{all[4].Shard}}).Found; len(found) != 0 {
		s.Errorf("a shard that nobody holds is at %+v", found)
	}
	if taken := b.claim(10); len(taken) != 2 || taken[0].Epoch != all[4].Epoch+2 {
		s.Errorf("took %+v", taken)
	}
}

func testLeave(s *suite) {
	a, b := s.join(), s.join()
	all := a.claim(64)
	if len(all) != 64 {
		s.Fatalf("claimed %d of 64", len(all))
	}
	a.must(cluster.Request{Op: cluster.Leave})
	a.must(cluster.Request{Op: cluster.Leave})
	a.refused(cluster.Request{Op: cluster.Beat, Generation: a.generation}, cluster.ErrDead)
	if s.site.MayCommit(s, a.node.ID) {
		s.Error("a node that has left may commit")
	}
	if got := a.given(); got != 0 {
		s.Errorf("a node that has left claims %d shards", got)
	}
	taken := b.claim(64)
	if len(taken) != 64 || taken[0].Epoch != all[0].Epoch+1 {
		s.Errorf("took %d shards", len(taken))
	}
	a.must(cluster.Request{Op: cluster.Hand, Grants: all}) // too late
	if len(b.held()) != 64 {
		s.Error("the dead hand over what they had")
	}
}

// testExpiry holds that a lease lasts as long as it should, and not longer, and that
// it is not renewed after its end.
func testExpiry(s *suite) {
	a, b := s.join(), s.join()
	a.claim(64)
	sent := time.Now()
	if _, err := a.ask(cluster.Request{Op: cluster.Beat, Generation: a.generation}); err != nil {
		s.Skipf("the machine is too slow for leases of %v: %v", s.cfg.TTL, err)
	}
	var taken []cluster.Grant
	ticker := time.NewTicker(s.cfg.TTL / 20)
	defer ticker.Stop()
	for len(taken) == 0 {
		<-ticker.C
		if _, err := b.ask(cluster.Request{Op: cluster.Beat, Generation: b.generation}); err != nil {
			s.Skipf("the machine is too slow for leases of %v: %v", s.cfg.TTL, err)
		}
		taken = b.claim(64)
	}
	if took := time.Since(sent); took < s.cfg.TTL {
		s.Errorf("taken over %v after a renewal", took)
	}
	if len(taken) != 64 || s.site.MayCommit(s, a.node.ID) {
		s.Errorf("%d shards taken over; the node that is gone may commit: %t", len(taken), s.site.MayCommit(s, a.node.ID))
	}
	a.refused(cluster.Request{Op: cluster.Beat, Generation: a.generation}, cluster.ErrDead)
}

// testMembers runs members in real time: they share the shards, take over from one that
// closes and from one that is silent, which comes back as another.
func testMembers(s *suite) {
	var members []*cluster.Member
	var tenants []*holdings
	shared := &ledger{has: make(map[uint16]string)}
	silent := make([]*gate, 3)
	for i := range silent {
		authority, id := s.site.Process(s)
		silent[i] = &gate{Authority: authority}
		m, err := cluster.NewMember(s.cfg, placement.Node{ID: id, Address: "host:1"}, silent[i])
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(func() { _ = m.Close() })
		tenant := &holdings{ledger: shared, name: id}
		if err := m.Start(tenant); err != nil {
			s.Fatal(err)
		}
		members, tenants = append(members, m), append(tenants, tenant)
	}
	s.until("three members share", func() bool {
		return slices.Equal(counts(tenants, 21), []int{1, 1, 1})
	})
	cordon := func(cordoned bool) {
		s.Helper()
		request := cluster.Request{Op: cluster.Cordon, To: members[0].Self().ID, Cordoned: cordoned}
		if _, err := silent[1].Ask(s.Context(), request); err != nil {
			s.Fatal(err)
		}
	}
	cordon(true)
	s.until("one member is cordoned and empty", func() bool {
		return tenants[0].count() == 0 && slices.Equal(counts(tenants[1:], 32), []int{1, 1})
	})
	cordon(false)
	s.until("three members share again", func() bool { return slices.Equal(counts(tenants, 21), []int{1, 1, 1}) })
	if err := members[0].Drain(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.until("two members have what the third had", func() bool {
		return tenants[0].count() == 0 && slices.Equal(counts(tenants[1:], 32), []int{1, 1})
	})
	first := members[1].Self().ID
	silent[1].shut(true)
	s.until("one member has all", func() bool { return tenants[2].count() == 64 && tenants[1].count() == 0 })
	if s.site.MayCommit(s, first) {
		s.Error("the silent member may commit")
	}
	silent[1].shut(false)
	s.until("the other one is back", func() bool { return slices.Equal(counts(tenants[1:], 32), []int{1, 1}) })
	if members[1].Self().ID == first {
		s.Error("it is back under the same id")
	}
	if err := members[2].Close(); err != nil {
		s.Error(err)
	}
	s.until("one has taken over from one that was closed", func() bool { return tenants[1].count() == 64 })
	shared.mu.Lock()
	defer shared.mu.Unlock()
	for _, fault := range shared.faults {
		s.Error(fault)
	}
}

// until waits until something is so.
func (s *suite) until(what string, so func() bool) {
	s.Helper()
	ticker := time.NewTicker(s.cfg.TTL / 50)
	defer ticker.Stop()
	deadline := time.After(2 * time.Minute)
	for !so() {
		select {
		case <-ticker.C:
		case <-deadline:
			s.Fatalf("not within two minutes: %s", what)
		}
	}
}

func same(a, b []cluster.Grant) bool {
	order := func(x, y cluster.Grant) int { return int(x.Shard) - int(y.Shard) }
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, order)
	slices.SortFunc(b, order)
	return slices.Equal(a, b)
}
