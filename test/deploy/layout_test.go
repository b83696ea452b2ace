// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
	troupe "github.com/troupe-dev/troupe/clients/go"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	"github.com/troupe-dev/troupe/test/program"
)

// layout is the compose file's services as plain processes. Each has an address of
// loopback to itself, as its container has one; ports, flags and secrets are the file's.
type layout struct {
	t       *testing.T
	project *types.Project
	nodes   []*node

	secrets  string // directory of the secrets' files
	database string // host:port
}

// node is one service.
type node struct {
	types.ServiceConfig
	address string
	process *program.Process
}

func newLayout(t *testing.T) *layout {
	t.Helper()
	l := &layout{t: t, project: compose(t), secrets: t.TempDir()}
	for name, secret := range l.project.Secrets {
		write(t, filepath.Join(l.secrets, name), composeSecrets[secret.Environment])
	}
	l.startPostgres()
	id := os.Getpid()
	for i, service := range composeNodes(l.project) {
		address := fmt.Sprintf("127.%d.%d.%d", 1+id>>8&0x7f, id&0xff, 1+i) // nobody else's
		l.nodes = append(l.nodes, &node{ServiceConfig: service, address: address})
	}
	return l
}

// startPostgres runs the database's service: its settings, its user, its password.
func (l *layout) startPostgres() {
	l.t.Helper()
	service := l.project.Services["postgres"]
	var settings []string
	for i, word := range service.Command {
		if word == "-c" {
			settings = append(settings, service.Command[i+1])
		}
	}
	if len(settings) == 0 {
		l.t.Errorf("the settings of %v are not read", service.Command)
	}
	server := pgtest.Start(l.t, append(settings, "hba_file = '"+passwordsOnly(l.t)+"'")...)
	e := environmentOf(service)
	server.Exec(l.t, "postgres", fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", e["POSTGRES_USER"], e["POSTGRES_PASSWORD"]))
	server.Exec(l.t, "postgres", fmt.Sprintf("CREATE DATABASE %s OWNER %s", e["POSTGRES_DB"], e["POSTGRES_USER"]))
	l.database = server.Addr()
}

// passwordsOnly makes the list of who may connect to PostgreSQL how: as in its image,
// everybody by password, but for the test itself.
func passwordsOnly(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "troupe-hba-") //nolint:usetesting // its server runs as another user, who must get at it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "pg_hba.conf")
	write(t, file, "host all postgres samehost trust\nhost all,replication all samehost scram-sha-256\n")
	for path, mode := range map[string]os.FileMode{dir: 0o755, file: 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return file
}

// environment is the variables of a node: the compose file's, where names of services
// and paths in a container are what they are here.
func (l *layout) environment(n *node) environment {
	e := environmentOf(n.ServiceConfig)
	for name, value := range e {
		if file, ok := strings.CutPrefix(value, "/run/secrets/"); ok {
			e[name] = filepath.Join(l.secrets, file)
		}
	}
	database, err := url.Parse(e["TROUPE_DATABASE_URL"])
	if err != nil {
		l.t.Fatal(err)
	}
	database.Host = l.database
	return e.with(
		"TROUPE_DATABASE_URL", database.String(),
		"TROUPE_LISTEN", net.JoinHostPort(n.address, e.port(l.t, "TROUPE_LISTEN")),
		"TROUPE_CLUSTER_LISTEN", net.JoinHostPort(n.address, e.port(l.t, "TROUPE_CLUSTER_LISTEN")),
		"TROUPE_CLUSTER_ADVERTISE", net.JoinHostPort(n.address, e.port(l.t, "TROUPE_CLUSTER_ADVERTISE")),
	)
}

// start starts a node and waits until its health check passes.
func (l *layout) start(n *node) {
	l.t.Helper()
	cmd := exec.Command(chat(l.t)) // the end of the test kills it
	cmd.Env = l.environment(n).list()
	n.process = program.Run(l.t, cmd)
	deadline := time.Now().Add(time.Minute)
	for out, err := l.probe(n); err != nil; out, err = l.probe(n) {
		if time.Now().After(deadline) {
			l.t.Fatalf("%s is not healthy: %v: %s", n.Name, err, out)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// probe runs the health check of a node.
func (l *layout) probe(n *node) (string, error) {
	url := strings.Replace(n.HealthCheck.Test[2], "127.0.0.1", n.address, 1)
	out, err := exec.CommandContext(l.t.Context(), build(l.t, "deploy/probe"), url).CombinedOutput()
	return string(out), err
}

// dial makes a client of a node that knows a password.
func (n *node) dial(t *testing.T, password string) *troupe.Client {
	t.Helper()
	r := &http.Request{Header: make(http.Header)}
	r.SetBasicAuth("ada", password)
	client := troupe.Dial(n.process.URL, troupe.WithHeader("authorization", r.Header.Get("Authorization")))
	t.Cleanup(client.Close)
	return client
}

// room is the room of these tests, for somebody.
func room(client *troupe.Client, user string) chatv1connect.ChatRoomClient {
	return chatv1connect.NewChatRoomClient(client.Bind(troupe.Address{
		Key: []string{"acme", "general"}, Params: &chatv1.SubscribeRequest{User: user},
	}))
}

// TestComposeLayout runs what the compose file lays out: each node wants the password,
// calls through each reach one actor, and a restart of one after the other fails no call
// and takes no longer than the file gives it.
func TestComposeLayout(t *testing.T) {
	t.Parallel()
	l := newLayout(t)
	var starting sync.WaitGroup
	for _, n := range l.nodes {
		starting.Go(func() { l.start(n) })
	}
	starting.Wait()
	if t.Failed() {
		return
	}
	var rooms []chatv1connect.ChatRoomClient
	for _, n := range l.nodes {
		for _, path := range []string{"/healthz", "/readyz"} {
			if out, err := exec.CommandContext(t.Context(), build(t, "deploy/probe"), n.process.URL+path).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", path, err, out)
			}
		}
		for _, password := range []string{"", "a wrong password"} {
			_, err := room(n.dial(t, password), "eve").History(t.Context(), new(chatv1.HistoryRequest))
			wantSame(t, n.Name+": a stranger", connect.CodeOf(err), connect.CodeUnauthenticated)
		}
		rooms = append(rooms, room(n.dial(t, composeSecrets["CHAT_PASSWORD"]), "ada"))
	}
	sent := 0
	say := func(ctx context.Context, at int) {
		if _, err := rooms[at].Send(ctx, &chatv1.SendRequest{Text: strconv.Itoa(sent)}); err != nil {
			t.Errorf("message %d by %s: %v", sent, l.nodes[at].Name, err)
		}
		sent++
	}
	for range 3 {
		for at := range rooms {
			say(t.Context(), at)
		}
	}
	for i, n := range l.nodes {
		stopped := make(chan error)
		began := time.Now()
		go func() { stopped <- n.process.Stop() }()
		for running := true; running; {
			select {
			case err := <-stopped:
				running = false
				took := time.Since(began)
				t.Logf("%s stopped in %s", n.Name, took.Round(time.Millisecond))
				if limit := time.Duration(*n.StopGracePeriod); err != nil || took > limit {
					t.Errorf("%s stopped after %s of %s: %v", n.Name, took, limit, err)
				}
			case <-time.After(100 * time.Millisecond): // a room keeps 1,000
				say(t.Context(), (i+1+sent%2)%len(rooms))
			}
		}
		l.start(n)
		say(t.Context(), i)
	}
	for at := range rooms {
		history, err := rooms[at].History(t.Context(), &chatv1.HistoryRequest{Limit: int32(sent)})
		if err != nil {
			t.Fatal(err)
		}
		got := history.GetMessages()
		wantSame(t, l.nodes[at].Name+": messages", len(got), sent)
		for i, message := range got {
			wantSame(t, l.nodes[at].Name+": message", message.GetText(), strconv.Itoa(i))
		}
	}
}
