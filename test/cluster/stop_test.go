// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	registerv1 "github.com/troupe-dev/troupe/gen/go/register/v1"
	"github.com/troupe-dev/troupe/gen/go/register/v1/registerv1connect"
	"github.com/troupe-dev/troupe/test/history"
)

// TestP41_AStopEndsThoughEverythingHangs stops a node when nothing of it will end by
// itself: a turn that is deaf to its context for a minute, a subscriber that does not
// read, a database and other nodes that say nothing, and turns that wait for both. The
// process ends all the same once its grace period is over.
func TestP41_AStopEndsThoughEverythingHangs(t *testing.T) {
	t.Parallel()
	const (
		grace = 5 * time.Second
		hung  = 0
	)
	s := newSite(t, "-grace-period", grace.String())
	keys := s.keysOf(hung, "hung")
	stream := new(history.Stream)
	c := newCaller(s, history.NewRecorder(), 0, 0)
	for _, key := range keys {
		s.eventually(30*time.Second, "a node answers", func() bool {
			return c.try(hung, history.Operation{Register: key, Kind: history.Write, Value: 1}, "", callTimeout, 0).Outcome == history.Done
		})
	}
	go follow(t.Context(), s, "http://"+s.machines[hung].listen, keys[0], stream)
	deaf, err := net.Dial("tcp", s.machines[hung].listen)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deaf.Close() }() // only once
	if _, err := deaf.Write([]byte("POST " + registerv1connect.RegisterFollowProcedure + " HTTP/1.1\r\nHost: " + s.machines[hung].listen +
		"\r\nActor-Key: " + keys[0] + "\r\nContent-Type: application/connect+proto\r\nContent-Length: 5\r\n\r\n\x00\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReaderSize(deaf, 16).ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
		t.Fatalf("the subscription: %q, %v", line, err)
	}
	answers := make(chan error, 3)
	write := func(node int, key string, request *registerv1.WriteRequest) {
		_, err := s.registers(node, key).Write(t.Context(), request)
		answers <- err
	}
	go write(hung, keys[0], &registerv1.WriteRequest{Value: 2, Milliseconds: 60_000})
	s.pause(time.Second)
	for _, p := range []pair{{hung, database}, {database, hung}, {hung, 1}, {1, hung}, {hung, 2}, {2, hung}} {
		s.network.link(p.from, p.to).set(condition{holdThere: true, holdBack: true})
	}
	go write(hung, keys[0], &registerv1.WriteRequest{Value: 3}) // behind the turn
	go write(hung, keys[1], &registerv1.WriteRequest{Value: 4}) // behind the database
	s.pause(time.Second)
	began := time.Now()
	s.signal(hung, syscall.SIGTERM)
	select {
	case <-s.nodes[hung].Exited:
		t.Logf("the node has ended after %s", time.Since(began).Round(time.Millisecond))
	case <-time.After(grace + 10*time.Second):
		t.Errorf("the node runs still, %s after it was asked to stop", time.Since(began))
		s.nodes[hung].Kill()
	}
	for range cap(answers) {
		if err := <-answers; err == nil {
			t.Errorf("a write that cannot have ended was answered")
		}
	}
}
