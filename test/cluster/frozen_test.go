// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	registerv1 "github.com/troupe-dev/troupe/gen/go/register/v1"
	"github.com/troupe-dev/troupe/gen/go/register/v1/registerv1connect"
	"github.com/troupe-dev/troupe/test/history"
)

// owned says which registers of some a node runs.
func (s *site) owned(node int, keys []string) []string {
	s.t.Helper()
	owners := make(map[string]string)
	for _, row := range s.server.Query(s.t, s.name, "SELECT s.shard, n.address FROM troupe.shard s JOIN troupe.node n ON n.id = s.owner") {
		owners[row[0]] = row[1]
	}
	var owned []string
	for _, key := range keys {
		shard := store.ShardOf(store.Address{Namespace: "default", Type: registerv1connect.RegisterName, Key: key}, store.DefaultShards)
		if owners[strconv.Itoa(int(shard))] == s.machines[node].gate {
			owned = append(owned, key)
		}
	}
	return owned
}

// keysOf returns two keys of registers that a node runs, of those with a prefix.
func (s *site) keysOf(node int, prefix string) []string {
	s.t.Helper()
	var keys []string
	for n := range 100 {
		keys = append(keys, fmt.Sprintf("%s-%d", prefix, n))
	}
	var owned []string
	s.eventually(2*time.Minute, "a node has some of the registers", func() bool {
		owned = s.owned(node, keys)
		return len(owned) >= 2
	})
	return owned[:2]
}

// TestP2_NobodySeesAFrozenTurn freezes a node past its lease with one turn that runs and
// one whose commit is on its way to the database. Others take the registers over, and
// write to one of them. When the node goes on and the commit arrives, both are refused:
// neither the callers of the turns nor a reader nor a follower is told that they took
// effect, and nothing of them is stored.
func TestP2_NobodySeesAFrozenTurn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for attempt := range 5 {
		if freezeTurns(s, 0, fmt.Sprintf("frozen-%d", attempt)) {
			return
		}
		t.Log("the registers had moved before the node was frozen")
	}
	t.Error("the registers do not stay where they are: the test has tested nothing")
}

// freezeTurns does so once. It reports false if the node was not the one that ran the
// turns.
func freezeTurns(s *site, frozen int, prefix string) bool {
	t := s.t
	keys := s.keysOf(frozen, prefix)
	running, sent := keys[0], keys[1]
	record := history.NewRecorder()
	c := newCaller(s, record, 0, 0)
	call := func(node int, kind history.Kind, key string) history.Operation {
		o := record.Begin(history.Operation{Register: key, Kind: kind})
		o = c.try(node, o, "", 30*time.Second, 0)
		record.End(o)
		return o
	}
	insist := func(node int, kind history.Kind, key string) {
		s.eventually(30*time.Second, "a node answers", func() bool { return call(node, kind, key).Outcome == history.Done })
	}
	following, leave := context.WithCancel(t.Context())
	var followers sync.WaitGroup
	streams := make(map[string][]*history.Stream)
	for _, key := range keys {
		insist(1, history.Write, key)
		for node, m := range s.machines {
			stream := &history.Stream{Name: fmt.Sprintf("the follower of %s at node %d", key, node)}
			streams[key] = append(streams[key], stream)
			followers.Go(func() { follow(following, s, "http://"+m.listen, key, stream) })
		}
		s.eventually(30*time.Second, "the followers follow", func() bool {
			call(1, history.Write, key)
			for _, stream := range streams[key] {
				if stream.Newest() == 0 {
					return false
				}
			}
			return true
		})
	}

	late := make(chan history.Operation, 2)
	go func() { // a turn that runs
		o := record.Begin(history.Operation{Register: running, Kind: history.Write})
		reply, err := s.registers(frozen, running).Write(t.Context(), &registerv1.WriteRequest{Value: o.Value, Milliseconds: 2000})
		if o.Previous, o.Version = reply.GetPrevious(), reply.GetVersion(); err == nil {
			o.Outcome = history.Done
		} else {
			o.Error = err.Error()
		}
		record.End(o)
		late <- o
	}()
	link := s.network.link(frozen, database)
	before := link.seen()
	link.set(condition{holdCommits: true})
	go func() { late <- call(frozen, history.Write, sent) }() // and one that has ended
	s.eventually(10*time.Second, "its commit is on its way", func() bool { return link.seen() > before || len(late) > 0 })
	s.signal(frozen, syscall.SIGSTOP)
	if len(s.owned(frozen, keys)) < 2 {
		s.signal(frozen, syscall.SIGCONT)
		s.network.heal()
		<-late
		<-late
		leave()
		followers.Wait()
		s.settled()
		return false
	}
	insist(1, history.Write, running)
	insist(1, history.Read, sent) // it has been taken over too, and nothing is written
	s.signal(frozen, syscall.SIGCONT)
	s.network.heal()
	var frozenTurns []history.Operation
	for range cap(late) {
		o := <-late
		t.Log(o)
		if o.Outcome == history.Done {
			t.Errorf("a frozen turn was acknowledged: %s", o)
		}
		frozenTurns = append(frozenTurns, o)
	}
	s.settled()
	for _, key := range keys {
		for node := range siteNodes {
			insist(node, history.Read, key)
		}
		insist(2, history.Write, key)
	}
	s.idle()
	logs := s.readLogs(keys)
	operations := record.Operations()
	for _, key := range keys {
		for _, stream := range streams[key] {
			s.eventually(time.Minute, stream.Name+" has seen everything", func() bool { return stream.Newest() >= int64(len(logs[key])) })
		}
	}
	leave()
	followers.Wait()
	for _, o := range frozenTurns {
		if slices.Contains(logs[o.Register], o.Value) {
			t.Errorf("a frozen turn is stored: %s", o)
		}
	}
	for _, key := range keys {
		for _, problem := range history.Check(operations[key], logs[key], historyPatience) {
			t.Errorf("%s: %v", key, problem)
		}
		for _, stream := range streams[key] {
			for _, problem := range stream.Check(logs[key]) {
				t.Error(problem)
			}
		}
	}
	return true
}
