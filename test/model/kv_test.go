// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package model_test

import (
	"context"
	"fmt"
	"maps"

	"github.com/troupe-dev/troupe/actors"
	"pgregory.net/rapid"
)

var someKVKey = rapid.SampledFrom([]string{"a", "b", "ba", "c"})

// putStep sets a key, deleteStep removes one, and listStep has the turn see its own
// writes on what was stored.
func putStep(r *rapid.T) step {
	key, value := someKVKey.Draw(r, "kv key"), fmt.Sprint(rapid.IntRange(0, 9).Draw(r, "value"))
	return step{
		name: fmt.Sprintf("put %s=%s", key, value),
		real: func(_ context.Context, s *subject) error { return s.KV().Put([]byte(key), []byte(value)) },
		model: func(a *actor) {
			a.writes++
			a.kv[key] = value
		},
	}
}

func deleteStep(r *rapid.T) step {
	key := someKVKey.Draw(r, "kv key")
	return step{
		name: "delete " + key,
		real: func(_ context.Context, s *subject) error { return s.KV().Delete([]byte(key)) },
		model: func(a *actor) {
			a.writes++
			delete(a.kv, key)
		},
	}
}

func listStep(*rapid.T) step {
	var want map[string]string
	return step{
		name: "list",
		real: func(ctx context.Context, s *subject) error {
			got, err := s.pairs(ctx)
			if err == nil && !maps.Equal(got, want) {
				err = fmt.Errorf("the turn sees %v, want %v", got, want)
			}
			return err
		},
		model: func(a *actor) { want = maps.Clone(a.kv) },
	}
}

// pairs are the pairs that the actor has.
func (s *subject) pairs(ctx context.Context) (map[string]string, error) {
	pairs, err := s.KV().List(ctx, actors.Range{})
	if err != nil {
		return nil, err
	}
	all := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		all[string(pair.Key)] = string(pair.Value)
	}
	return all, nil
}
