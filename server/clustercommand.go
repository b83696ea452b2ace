// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/troupe-dev/troupe/actors/placement/cluster"
	shards "github.com/troupe-dev/troupe/actors/placement/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres"
)

// clusterCommandName is the first argument of a program that looks at the cluster
// instead of serving.
const clusterCommandName = "cluster"

// How a command that waits looks at the cluster.
const (
	followEvery = 500 * time.Millisecond
	askTimeout  = 5 * time.Second // the database answers within it, or not
)

// clusterCommand is one run of the subcommand. It speaks to the database and to no
// node, so that it works where no node does.
type clusterCommand struct {
	settings  // of which the database's are read
	json      bool
	perShard  bool
	wait      bool
	timeout   time.Duration
	stdout    io.Writer
	stderr    io.Writer
	lease     cluster.Config
	authority cluster.Authority
}

// flags declares those of the subcommand.
func (c *clusterCommand) flags() *flag.FlagSet {
	f := flag.NewFlagSet(programName()+" "+clusterCommandName, flag.ContinueOnError)
	f.SetOutput(c.stderr)
	c.databaseFlags(f)
	c.configFlag(f)
	f.BoolVar(&c.json, "json", false, "print JSON")
	f.BoolVar(&c.perShard, "shards", false, "show who holds each shard, and under which epoch")
	f.BoolVar(&c.wait, "wait", true, "wait until it is done, and tell how far it is")
	f.DurationVar(&c.timeout, "timeout", 5*time.Minute, "longest `time` to wait")
	f.Usage = func() {
		_, _ = fmt.Fprintf(c.stderr, `Usage: %[1]s [flags]               show the nodes
       %[1]s [flags] drain NODE    have a node hand over its shards and take none
       %[1]s [flags] resume NODE   let it take shards again
       %[1]s [flags] rebalance     even the shards out without waiting between moves

NODE is the label "name" of a node, its address, or the beginning of its id.
`, f.Name()) // nobody listens
		f.PrintDefaults()
	}
	return f
}

// runClusterCommand runs the subcommand with the arguments that follow its name.
func runClusterCommand(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) error {
	c := &clusterCommand{stdout: stdout, stderr: stderr}
	words, err := c.read(c.flags(), args, env)
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	var run func(context.Context) error
	if err == nil {
		run, err = c.command(words)
	}
	if err != nil {
		return fmt.Errorf("%s: %w (%w)", clusterCommandName, err, errUsage)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	pool, info, err := postgres.Visit(ctx, postgres.Options{
		URL: c.databaseURL, Schema: c.databaseSchema, UnsafeDurability: c.unsafeDurability,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", clusterCommandName, err)
	}
	defer pool.Close()
	c.lease = cluster.Config{Shards: info.Shards}.WithDefaults()
	if c.authority, err = shards.Visit(c.lease, pool); err == nil {
		err = run(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", clusterCommandName, err)
	}
	return nil
}

// command finds out what is wanted.
func (c *clusterCommand) command(words []string) (func(context.Context) error, error) {
	if c.databaseURL == "" {
		return nil, fmt.Errorf("-database-url (%s) is empty: name the database that the nodes share; a server with -data-dir is alone", envName("database-url"))
	}
	if c.timeout <= 0 {
		return nil, errors.New("-timeout is not positive")
	}
	if len(words) == 0 {
		return c.show, nil
	}
	node := func(do func(context.Context, string) error) (func(context.Context) error, error) {
		if len(words) != 2 {
			return nil, fmt.Errorf("%s needs the name of one node", words[0])
		}
		return func(ctx context.Context) error { return do(ctx, words[1]) }, nil
	}
	switch words[0] {
	case "drain":
		return node(c.drain)
	case "resume":
		return node(c.resume)
	case "rebalance":
		if len(words) != 1 {
			return nil, fmt.Errorf("rebalance is about all nodes: what is %q?", words[1])
		}
		return c.rebalance, nil
	}
	return nil, fmt.Errorf("there is no command %q: say drain, resume or rebalance", words[0])
}

// drain has a node hand over what it holds.
func (c *clusterCommand) drain(ctx context.Context, name string) error {
	view, node, err := c.find(ctx, name)
	if err != nil {
		return err
	}
	if !cluster.Takes(view.Nodes, node.ID) {
		return fmt.Errorf("node %s is the last one that takes shards: start or resume another one first", nameOf(node))
	}
	if err := c.cordon(ctx, node, true); err != nil {
		return err
	}
	if !c.wait {
		return c.say("node %s hands over its shards, and takes none until it is resumed or starts again\n", nameOf(node))
	}
	return c.follow(ctx, "drain", func(view *cluster.Answer) (int, error) {
		for _, n := range view.Nodes {
			switch {
			case n.ID != node.ID:
			case n.LeaseMillis < 0:
				return 0, fmt.Errorf("node %s is gone: others take over the %d shards that it held", nameOf(n), n.Shards)
			case !n.Cordoned && !n.Draining:
				return 0, fmt.Errorf("somebody has resumed node %s", nameOf(n))
			default:
				return n.Shards, nil
			}
		}
		return 0, fmt.Errorf("node %s has left the cluster: others take over what it held", nameOf(node))
	})
}

// resume lets a node take shards again.
func (c *clusterCommand) resume(ctx context.Context, name string) error {
	_, node, err := c.find(ctx, name)
	if err != nil {
		return err
	}
	if err := c.cordon(ctx, node, false); err != nil {
		return err
	}
	if !c.wait {
		return c.say("node %s takes shards again\n", nameOf(node))
	}
	return c.follow(ctx, "resume", func(view *cluster.Answer) (int, error) {
		for _, n := range view.Nodes {
			if n.ID == node.ID && n.LeaseMillis >= 0 {
				return cluster.Surplus(view.Nodes, view.Orphans), nil
			}
		}
		return 0, fmt.Errorf("node %s is gone; if it has come back it is another node: look, and resume that one", nameOf(node))
	})
}

// rebalance has the nodes even out what they hold. They do so by themselves: it hastens
// that, for as long as it waits.
func (c *clusterCommand) rebalance(ctx context.Context) error {
	if !c.wait {
		_, err := c.ask(ctx, cluster.Request{Op: cluster.Rebalance})
		if err != nil {
			return err
		}
		return c.say("the nodes hurry for %s\n", c.lease.TTL)
	}
	var asked time.Time
	return c.follow(ctx, "rebalance", func(view *cluster.Answer) (int, error) {
		if !cluster.Takes(view.Nodes, "") {
			return 0, errors.New("no node takes shards: start or resume one")
		}
		if time.Since(asked) > c.lease.TTL/2 {
			asked = time.Now()
			if _, err := c.ask(ctx, cluster.Request{Op: cluster.Rebalance}); err != nil {
				return 0, err
			}
		}
		return cluster.Surplus(view.Nodes, view.Orphans), nil
	})
}

// follow looks at the cluster until no shard is left to move, and tells of each change.
func (c *clusterCommand) follow(ctx context.Context, what string, left func(*cluster.Answer) (int, error)) error {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for last := -1; ; {
		view, err := c.view(ctx)
		switch {
		case err == nil:
			shards, err := left(&view)
			if err != nil {
				return err
			}
			if shards != last {
				last = shards
				_, _ = fmt.Fprintf(c.stderr, "%s: %d shards to move\n", what, shards) // nobody listens
			}
			if shards == 0 {
				return c.print(ctx, &view)
			}
		case ctx.Err() == nil:
			_, _ = fmt.Fprintf(c.stderr, "%s: %v; asking again\n", what, err) // nobody listens
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%d shards are still to move after -timeout %s: the nodes go on; see their logs, an actor may not let go", max(last, 0), c.timeout)
			}
			return fmt.Errorf("interrupted with %d shards to move: the nodes go on", max(last, 0))
		}
	}
}

func (c *clusterCommand) show(ctx context.Context) error {
	view, err := c.view(ctx)
	if err != nil {
		return err
	}
	return c.print(ctx, &view)
}

func (c *clusterCommand) view(ctx context.Context) (cluster.Answer, error) {
	return c.ask(ctx, cluster.Request{Op: cluster.View})
}

func (c *clusterCommand) ask(ctx context.Context, q cluster.Request) (cluster.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return c.authority.Ask(ctx, q)
}

func (c *clusterCommand) say(format string, args ...any) error {
	_, err := fmt.Fprintf(c.stdout, format, args...)
	return err
}
