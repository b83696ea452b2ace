// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package placementtest

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/troupe-dev/troupe/actors/placement/cluster"
)

// site has the cluster in memory pass the suite that databases pass.
type site struct {
	*Cluster
	names atomic.Int32
}

func (s *site) Process(testing.TB) (cluster.Authority, string) {
	return s.Cluster, "n" + strconv.Itoa(int(s.names.Add(1)))
}

func (s *site) MayCommit(_ testing.TB, stay string) bool { return s.Cluster.MayCommit(stay) }

func TestAuthority(t *testing.T) {
	t.Parallel()
	Run(t, func(_ testing.TB, cfg cluster.Config) Site { return &site{Cluster: NewClusterWith(cfg)} })
}
