// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/placementtest"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

const fleetShards = 16

// fleet is some hosts of one cluster over one store. They pass calls on to each other
// without a network.
type fleet struct {
	*placementtest.Cluster
	t     *testing.T
	kits  []*kit
	nodes []*placementtest.Node

	mu   sync.Mutex
	down map[string]bool // by address: nodes that cannot be reached; guarded by mu
}

// fenced refuses the commits of a node whose stay has ended, as a store does that
// belongs to a cluster.
type fenced struct {
	store.Store
	cluster *placementtest.Cluster
	node    *placementtest.Node
}

type refused []*store.Write

func (r refused) Wait() {
	for _, w := range r {
		w.Err = store.ErrFenced
	}
}

func (f *fenced) Commit(ctx context.Context, batch []*store.Write) store.Pending {
	if !f.cluster.MayCommit(f.node.Self().ID) {
		return refused(batch)
	}
	return f.Store.Commit(ctx, batch)
}

// newFleet starts n hosts in a synctest bubble and waits until each holds its share.
// Each kit's hooks are set by edit.
func newFleet(t *testing.T, n int, edit func(*kit), options ...actors.Option) *fleet {
	t.Helper()
	f := &fleet{Cluster: placementtest.NewCluster(fleetShards), t: t, down: make(map[string]bool)}
	shared := memory.New(memory.Options{Shards: fleetShards})
	for i := range n {
		node := f.Node(placement.Node{ID: fmt.Sprintf("node-%d", i), Address: fmt.Sprintf("host-%d:1", i)})
		k := &kit{store: &fenced{shared, f.Cluster, node}}
		k.configure = func(cfg *actors.Config) { cfg.Placement, cfg.Forward = node, f }
		if edit != nil {
			edit(k)
		}
		startKit(t, k, options...)
		f.kits, f.nodes = append(f.kits, k), append(f.nodes, node)
		if err := node.Start(k.Host); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(f.Close)
	pass(time.Minute)
	for i, node := range f.nodes {
		if held := f.held(i); held < fleetShards/n {
			t.Fatalf("%s holds %d shards", node.Self().ID, held)
		}
	}
	return f
}

func (f *fleet) held(i int) (n int) {
	for shard := range uint16(fleetShards) {
		if f.nodes[i].Holds(shard) {
			n++
		}
	}
	return n
}

// keyOf returns the n-th key of a counter that a host runs.
func (f *fleet) keyOf(i, n int) string {
	f.t.Helper()
	for k := range 10_000 {
		key := fmt.Sprintf("key-%d", k)
		if f.nodes[i].Holds(f.shardOf(key)) {
			if n--; n < 0 {
				return key
			}
		}
	}
	f.t.Fatalf("host %d holds nothing", i)
	return ""
}

// neighborOf returns another key of the shard of a key.
func (f *fleet) neighborOf(key string) string {
	f.t.Helper()
	for k := range 10_000 {
		if other := fmt.Sprintf("key-%d", k); other != key && f.shardOf(other) == f.shardOf(key) {
			return other
		}
	}
	f.t.Fatalf("%s is alone", key)
	return ""
}

func (f *fleet) shardOf(key string) uint16 {
	return store.ShardOf(f.kits[0].address(key), fleetShards)
}

// cut has a node not be reached by others any more, or be reached again.
func (f *fleet) cut(i int, down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down[f.nodes[i].Self().Address] = down
}

func (f *fleet) hostAt(node placement.Node) (*kit, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, n := range f.nodes {
		if n.Self().Address == node.Address && !f.down[node.Address] {
			return f.kits[i], nil
		}
	}
	return nil, fmt.Errorf("%s is down", node.Address)
}

// unreachable is the error about a call that was not sent.
func (f *fleet) unreachable(cause error) error {
	err := connect.NewError(connect.CodeUnavailable, cause.Error())
	for _, message := range []proto.Message{
		&errdetails.ErrorInfo{Reason: "node_unreachable", Domain: "troupe.v1"},
		&troupev1.Outcome{Outcome: notExecuted},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)},
	} {
		detail, err2 := connectproto.NewErrorDetail(message)
		if err2 != nil {
			f.t.Error(err2)
		}
		err = err.WithDetail(detail)
	}
	return err
}

// copyOf is a call as it arrives: what the sender's process knows besides is lost.
func (k *kit) copyOf(call *actors.Call) *actors.Call {
	arrived := &actors.Call{
		Target: call.Target, Method: k.methods[call.Method.Spec.Procedure], Request: call.Request, Input: call.Input, Params: call.Params,
		Conn: call.Conn, Resume: call.Resume, Events: call.Events, Subject: call.Subject, IdempotencyKey: call.IdempotencyKey,
		Internal: call.Internal, Chain: call.Chain, Postmark: call.Postmark, Codec: binary{}, Info: &connect.CallInfo{Spec: call.Method.Spec},
	}
	return arrived
}

// Call implements [actors.Forwarder].
func (f *fleet) Call(ctx context.Context, node placement.Node, call *actors.Call) (actors.Reply, error) {
	k, err := f.hostAt(node)
	if err != nil {
		return actors.Reply{}, f.unreachable(err)
	}
	return k.CallForwarded(ctx, k.copyOf(call))
}

// Follow implements [actors.Forwarder].
func (f *fleet) Follow(ctx context.Context, node placement.Node, call *actors.Call, opened func(*actors.Reply) error, send func([]byte) error) error {
	k, err := f.hostAt(node)
	if err != nil {
		return f.unreachable(err)
	}
	return k.Follow(ctx, k.copyOf(call), opened, send)
}
