// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"sync/atomic"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

const (
	// pgxWriters is how many connections commit at once, as a store has lanes.
	pgxWriters = 2
	// eventBytes is about what the event of an increment takes in the log.
	eventBytes = 32
)

// pgxServer is the limit of what PostgreSQL takes: a program that does nothing but
// write batches by pgx, without a network in front, a fence or a doubt.
type pgxServer struct {
	writers chan *pgxWriter
	all     []*pgxWriter
	events  bool
}

// pgxWriter is a connection and the actors that it alone writes.
type pgxWriter struct {
	bare   *pgtest.Bare
	actors []*store.Write
	next   int
}

func newPgxServer(args []string) (*pgxServer, error) {
	flags := flag.NewFlagSet("pgx", flag.ContinueOnError)
	url := flags.String("url", "", "of the database")
	events := flags.Bool("events", false, "write an event with each state")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	s := &pgxServer{writers: make(chan *pgxWriter, pgxWriters), events: *events}
	for range pgxWriters {
		bare, err := pgtest.NewBare(context.Background(), *url)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		w := &pgxWriter{bare: bare}
		for n := range manyActors / pgxWriters {
			addr := rawAddress(int64(len(s.all)*manyActors + n))
			w.actors = append(w.actors, &store.Write{Record: store.Record{Address: addr, ID: store.NewID(store.ShardOf(addr, store.DefaultShards))}})
		}
		s.all = append(s.all, w)
		s.writers <- w
	}
	return s, nil
}

func (s *pgxServer) addr() string { return "" }

func (s *pgxServer) close() error {
	var err error
	for _, w := range s.all {
		err = errors.Join(err, w.bare.Close())
	}
	return err
}

// handle runs one measurement: "commit" writes batches of c.N actors for c.For.
func (s *pgxServer) handle(c command) (report, error) {
	if c.Do != "commit" {
		return report{}, errCommand
	}
	var written atomic.Int64
	answer, err := timed(command{N: pgxWriters, For: c.For}, func(int64) error {
		w := <-s.writers
		defer func() { s.writers <- w }()
		batch := w.batch(c.N, s.events)
		written.Add(int64(len(batch)))
		return w.bare.Commit(context.Background(), batch)
	})
	answer.Batches, answer.Ops = answer.Ops, written.Load()
	return answer, err
}

// batch is the next turns of n actors.
func (w *pgxWriter) batch(n int, events bool) []*store.Write {
	batch := make([]*store.Write, 0, n)
	for range min(n, len(w.actors)) {
		a := w.actors[w.next%len(w.actors)]
		w.next++
		a.Record.Revision++
		a.Record.State = counterState(a.Record.Revision)
		a.Rows = a.Rows[:0]
		if events {
			a.Rows = append(a.Rows, store.RowWrite{Kind: store.KindEvent, Row: store.Row{
				Key: binary.BigEndian.AppendUint64(nil, a.Record.Revision), Value: make([]byte, eventBytes),
			}})
		}
		batch = append(batch, a)
	}
	return batch
}

// perSecond is how many operations a second a report tells of.
func (r *report) perSecond() float64 {
	return float64(r.Ops) / max(r.Elapsed, time.Nanosecond).Seconds()
}
