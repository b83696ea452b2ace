// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import "context"

// count takes note of a batch that has settled.
func (c *committer) count(failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done++
	if failed {
		c.failures++
	}
	c.news.Broadcast()
}

// durably reads something of the store, which shows what has begun, and returns once
// all that it can have shown is durable. It reads again if some of that has failed.
func (c *committer) durably(ctx context.Context, read func() error) error {
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.news.Broadcast()
	})()
	for {
		c.mu.Lock()
		failures := c.failures
		c.mu.Unlock()
		if err := read(); err != nil {
			return err
		}
		c.mu.Lock()
		for begun := c.begun; c.done < begun && ctx.Err() == nil; {
			c.news.Wait()
		}
		sound := c.failures == failures
		c.mu.Unlock()
		if ctx.Err() != nil {
			return ended(ctx)
		}
		if sound {
			return nil
		}
	}
}
