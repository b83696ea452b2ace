// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-dev/troupe/actors/placement"
	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// silent is an authority that never answers.
type silent struct{}

func (silent) Ask(ctx context.Context, _ cluster.Request) (cluster.Answer, error) {
	<-ctx.Done()
	return cluster.Answer{}, ctx.Err()
}

// TestNodesEndsWithoutAnAnswer holds that a look at the nodes takes no longer than any other
// request: what it is asked over is what the lease is renewed over.
func TestNodesEndsWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, err := cluster.NewMember(cluster.Config{Shards: 1}, placement.Node{ID: "a"}, silent{})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := m.Nodes(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Nodes: %v", err)
		}
		if took := time.Since(began); took != cluster.DefaultTTL/5 {
			t.Errorf("Nodes took %v", took)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}
