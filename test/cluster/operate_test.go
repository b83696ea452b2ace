// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
)

// shown is what the command prints as JSON.
type shown struct {
	Shards, Orphans, Surplus int
	Nodes                    []struct {
		ID, Name, Address, State string
		Shards                   int
		Actors, Calls            int64
		Version                  uint64
		Labels                   map[string]string
		LeaseMillis              int64 `json:"leaseMillis"`
		HeartbeatMillis          int64 `json:"heartbeatAgeMillis"`
	}
	Leases []struct {
		Shard int
		Node  string
		Epoch uint64
	}
}

// command runs the subcommand of the nodes' program.
func (f *fleet) command(words ...string) (stdout, stderr string, code int) {
	f.t.Helper()
	cmd := exec.CommandContext(f.t.Context(), f.path, append([]string{"cluster"}, words...)...)
	cmd.Env = append(os.Environ(), "TROUPE_DATABASE_URL="+f.url)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		f.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (f *fleet) shown(words ...string) shown {
	f.t.Helper()
	stdout, stderr, code := f.command(append(words, "-json")...)
	if code != 0 {
		f.t.Fatalf("%v: exit code %d\n%s", words, code, stderr)
	}
	var s shown
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		f.t.Fatalf("%v: %v\n%s", words, err, stdout)
	}
	return s
}

// refused holds that a command fails and says why.
func (f *fleet) refused(code int, why string, words ...string) {
	f.t.Helper()
	stdout, stderr, got := f.command(words...)
	if got != code || !strings.Contains(stderr, why) || stdout != "" {
		f.t.Errorf("%v: exit code %d, want %d and %q:\n%s%s", words, got, code, why, stdout, stderr)
	}
}

// TestANodeIsDrainedByCommand drains one node of three and resumes it while clients
// call: no call fails, and the node takes requests all the time.
func TestANodeIsDrainedByCommand(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	f.eventually(time.Minute, "each node has its share", func() bool {
		s := f.shown()
		return len(s.Nodes) == 3 && s.Surplus == 0 && s.Orphans == 0
	})
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for n := range 6 {
		callers.Go(func() {
			client := troupe.Dial(f.nodes[n%3].URL, troupe.WithHTTPClient(f.nodes[n%3].Client))
			for i := n; ; i += 6 {
				select {
				case <-stop:
					return
				default:
				}
				counters := counterv1connect.NewCounterClient(client.GetOrCreate(key(i)))
				if _, err := counters.Increment(f.t.Context(), &counterv1.IncrementRequest{Amount: 1}); err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
			}
		})
	}
	before := f.shown("-shards")
	if before.Shards != 4096 || len(before.Leases) != 4096 {
		t.Fatalf("%d shards, %d leases", before.Shards, len(before.Leases))
	}
	for _, n := range before.Nodes {
		if n.State != "up" || n.Shards < 1300 || n.LeaseMillis <= 0 || n.LeaseMillis > 10_000 || n.HeartbeatMillis < 0 || n.Address == "" || n.Name == "" {
			t.Errorf("a node: %+v", n)
		}
	}
	victim := before.Nodes[1]
	stdout, stderr, code := f.command("drain", victim.Name)
	if code != 0 || !strings.Contains(stdout, "drained") || !strings.Contains(stderr, "drain: 0 shards to move") {
		t.Fatalf("drain: exit code %d\n%s%s", code, stdout, stderr)
	}
	after := f.shown("-shards")
	total := 0
	for _, n := range after.Nodes {
		total += n.Shards
		if n.ID == victim.ID && (n.State != "drained" || n.Shards != 0) || n.ID != victim.ID && n.State != "up" {
			t.Errorf("after the drain: %+v", n)
		}
	}
	if total != 4096 || after.Orphans != 0 {
		t.Errorf("after the drain nodes hold %d shards, and nobody %d", total, after.Orphans)
	}
	for i, l := range after.Leases {
		if l.Shard != i || l.Node == victim.ID || l.Epoch < before.Leases[i].Epoch || (l.Epoch == before.Leases[i].Epoch) != (l.Node == before.Leases[i].Node) {
			t.Errorf("shard %d was %+v and is %+v", i, before.Leases[i], l)
		}
	}
	for _, p := range f.nodes {
		if !ready(p.URL) {
			t.Errorf("%s is not ready", p.URL)
		}
	}
	f.eventually(time.Minute, "the nodes that run actors say so, and the drained one runs none", func() bool {
		var busy, idle int
		for _, n := range f.shown().Nodes {
			if n.ID == victim.ID && n.Actors == 0 {
				idle++
			} else if n.Actors > 0 {
				busy++
			}
		}
		return busy == 2 && idle == 1
	})
	if s := f.shown("resume", victim.Address); s.Surplus != 0 || s.Nodes[1].Shards < 1300 || s.Nodes[1].State != "up" {
		t.Errorf("after resume: %+v", s)
	}
	f.shown("rebalance")
	close(stop)
	callers.Wait()
}

// TestTheLastNodeIsNotDrained holds that commands which cannot be done say why.
func TestTheLastNodeIsNotDrained(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	only := f.shown().Nodes[0].Name
	f.refused(1, "is the last one that takes shards", "drain", only)
	f.refused(1, `there is no node "nobody" among `+only, "drain", "nobody")
	f.refused(2, "drain needs the name of one node", "drain")
	f.refused(2, `there is no command "dance"`, "dance")
	f.refused(2, "-timeout is not positive", "-timeout", "0s")
	f.refused(1, `no store in the schema "other"`, "-database-schema", "other")
	if s := f.shown(); s.Nodes[0].State != "up" || s.Nodes[0].Shards != 4096 {
		t.Errorf("the node: %+v", s.Nodes[0])
	}
	f.nodes[0].Kill()
	f.eventually(30*time.Second, "the node is gone", func() bool { return f.shown().Nodes[0].State == "gone" })
	f.refused(1, "is gone: its lease has ended", "resume", only)
	f.refused(1, "no node takes shards", "rebalance")
}
