// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
	troupe "github.com/troupe-dev/troupe/clients/go"
	"github.com/troupe-dev/troupe/gen/go/register/v1/registerv1connect"
	"github.com/troupe-dev/troupe/test/program"
)

// machine is one of a site's: it has the same addresses each time its process starts.
type machine struct {
	listen, private string // for clients and for other nodes
	gate            string // where other nodes reach private
	database        string // the URL
	http            *http.Client
}

// site is three nodes and a database of their own, with a network between them that
// can fail.
type site struct {
	*fleet
	server   *pgtest.Server // the primary
	name     string         // of the database
	flags    []string       // of the nodes
	network  *network
	machines []machine

	mu        sync.Mutex
	processes []int // guarded by mu; of the nodes
}

const siteNodes = 3

// newSite starts a site, whose nodes have further flags, and waits until it takes calls.
func newSite(t *testing.T, flags ...string) *site {
	t.Helper()
	server := pgtest.Start(t)
	return newSiteOver(t, server.Database(t), flags, server)
}

// newSiteOver starts a site over the database of a URL, which the first of some servers
// keeps; the others are its standbys.
func newSiteOver(t *testing.T, direct string, flags []string, servers ...*pgtest.Server) *site {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the network of these tests asks Linux who has opened a connection")
	}
	s := &site{
		fleet: &fleet{
			t: t, secret: "a secret that the nodes of these tests share",
			path: program.Build(t, "github.com/troupe-dev/troupe/test/cluster/node", seedbugs...),
		},
		server:    servers[0],
		flags:     flags,
		processes: make([]int, siteNodes),
	}
	s.network = newNetwork(t)
	through, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	s.name = strings.TrimPrefix(through.Path, "/")
	for i := range siteNodes {
		var gates []string
		for _, server := range servers {
			gates = append(gates, s.network.gate(func(net.Conn) (int, bool) { return i, true }, database, server.Addr()))
		}
		through.Host = strings.Join(gates, ",")
		host := fmt.Sprintf("127.0.0.%d", 2+i) // where no connection that goes out has a port
		m := machine{
			listen: freeAddress(t, host), private: freeAddress(t, host), database: through.String(),
			http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		}
		m.gate = s.network.gate(s.whose, i, m.private)
		s.machines = append(s.machines, m)
		t.Cleanup(m.http.CloseIdleConnections)
	}
	s.nodes = make([]*program.Process, siteNodes)
	for i := range s.nodes {
		s.boot(i)
	}
	s.settled()
	return s
}

func freeAddress(t *testing.T, host string) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }() // only once
	return listener.Addr().String()
}

// boot starts the process of a machine, again if need be, as what watches over processes
// does: one that does not reach the database in time ends.
func (s *site) boot(i int) {
	s.t.Helper()
	m := s.machines[i]
	var failed error
	for began := time.Now(); time.Since(began) < 2*time.Minute; {
		process := s.launch(append([]string{"-database-url", m.database, "-listen", m.listen, "-cluster-listen", m.private, "-cluster-advertise", m.gate, "-heartbeat", "2s"}, s.flags...)...)
		s.nodes[i] = process
		s.mu.Lock()
		s.processes[i] = process.ID()
		s.mu.Unlock()
		if failed = process.Await(s.t); failed == nil {
			return
		}
	}
	s.t.Fatal(failed)
}

// whose says which node has opened a connection: nodes know each other by one address.
func (s *site) whose(conn net.Conn) (node int, known bool) {
	s.mu.Lock()
	processes := slices.Clone(s.processes)
	s.mu.Unlock()
	return ownerOf(conn, processes)
}

// settled waits until every node is ready.
func (s *site) settled() {
	s.t.Helper()
	for i := range s.nodes {
		s.awaitReady(i)
	}
}

// registers returns a client of one register at one machine, which repeats nothing by
// itself.
func (s *site) registers(i int, key string) registerv1connect.RegisterClient {
	client := troupe.Dial("http://"+s.machines[i].listen, troupe.WithHTTPClient(s.machines[i].http), troupe.WithoutRetries(), troupe.WithoutIdempotencyKeys())
	return registerv1connect.NewRegisterClient(client.GetOrCreate(key))
}

// alive reports an error for each node whose process has ended by itself.
func (s *site) alive() {
	s.t.Helper()
	for i, node := range s.nodes {
		select {
		case <-node.Exited:
			s.t.Errorf("node %d has ended by itself", i)
		default:
		}
	}
}

// pause lets time pass in which the callers go on.
func (s *site) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.t.Context().Done():
	}
}
