// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	registerv1 "github.com/troupe-dev/troupe/gen/go/register/v1"
	"github.com/troupe-dev/troupe/gen/go/register/v1/registerv1connect"
	"github.com/troupe-dev/troupe/test/history"
	"google.golang.org/protobuf/proto"
)

// number asks the database for one number.
func (s *site) number(sql string) int {
	s.t.Helper()
	rows := s.server.Query(s.t, s.name, sql)
	if len(rows) != 1 || len(rows[0]) != 1 {
		s.t.Fatalf("%s: %q", sql, rows)
	}
	n, err := strconv.Atoi(rows[0][0])
	if err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// idle waits until no schedule is left to run, and no message to arrive.
func (s *site) idle() {
	s.t.Helper()
	pending := fmt.Sprintf("SELECT count(*) FROM troupe.actor_row WHERE kind IN (%d, %d) AND due IS NOT NULL", store.KindSchedule, store.KindOutbox)
	s.eventually(2*time.Minute, "no schedule is left to run, and no message to arrive", func() bool { return s.number(pending) == 0 })
}

// epochs holds that the epochs of shards never fall.
type epochs map[string]int

func (e epochs) check(s *site) {
	s.t.Helper()
	for _, row := range s.server.Query(s.t, s.name, "SELECT shard, epoch FROM troupe.shard") {
		epoch, err := strconv.Atoi(row[1])
		if err != nil || epoch < e[row[0]] {
			s.t.Errorf("shard %s has the epoch %s, and had %d (%v)", row[0], row[1], e[row[0]], err)
		}
		e[row[0]] = epoch
	}
}

// readLogs reads what is stored of registers once every process has stopped, holds that
// it fits, and returns their logs.
func (s *site) readLogs(keys []string) map[string]history.Log {
	s.t.Helper()
	if orphans := s.number("SELECT count(*) FROM troupe.actor_row r WHERE NOT EXISTS (SELECT FROM troupe.actor a WHERE a.id = r.actor)"); orphans != 0 {
		s.t.Errorf("%d rows have no actor", orphans)
	}
	if astray := s.number("SELECT count(*) FROM troupe.actor_row WHERE shard <> ('x' || substr(replace(actor::text, '-', ''), 1, 4))::bit(16)::integer"); astray != 0 {
		s.t.Errorf("%d rows are in another shard than their actors", astray)
	}
	db, err := postgres.Open(s.t.Context(), postgres.Options{URL: s.server.URL(s.name)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			s.t.Error(err)
		}
	}()
	logs := make(map[string]history.Log, len(keys))
	for _, key := range keys {
		logs[key] = readLog(s.t, db, key)
		if counted := readCount(s.t, db, key); counted != int64(len(logs[key])) {
			s.t.Errorf("%s: of %d messages, %d took effect", key, len(logs[key]), counted)
		}
	}
	return logs
}

// readCount reads how many messages of a register have reached its counter.
func readCount(t *testing.T, db *postgres.Store, key string) int64 {
	t.Helper()
	record, err := db.Load(t.Context(), store.Address{Namespace: "default", Type: counterv1connect.CounterName, Key: key})
	if errors.Is(err, store.ErrNotFound) {
		return 0
	}
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	state := new(counterv1.CounterState)
	if err := proto.Unmarshal(record.State, state); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return state.GetCount()
}

func readLog(t *testing.T, db *postgres.Store, key string) history.Log {
	t.Helper()
	record, err := db.Load(t.Context(), store.Address{Namespace: "default", Type: registerv1connect.RegisterName, Key: key})
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	state := new(registerv1.RegisterState)
	if err := proto.Unmarshal(record.State, state); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	rows := func(kind store.Kind) []store.Row {
		rows, err := db.Scan(t.Context(), record.ID, kind, store.Range{})
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		return rows
	}
	var log history.Log
	for n, row := range rows(store.KindKV) {
		if want := binary.BigEndian.AppendUint64(nil, uint64(n)+1); !bytes.Equal(row.Key, want) || len(row.Value) != 8 {
			t.Fatalf("%s: the pair %d is %x: %x", key, n, row.Key, row.Value)
		}
		log = append(log, int64(binary.BigEndian.Uint64(row.Value)))
	}
	written := int64(len(log))
	if state.GetVersion() != written || written > 0 && state.GetValue() != log[written-1] {
		t.Errorf("%s: the state is %v, and the newest of %d values is %v", key, state, written, log[max(0, written-1):])
	}
	if record.EventHead != uint64(written) {
		t.Errorf("%s: %d events were published with %d values", key, record.EventHead, written)
	}
	if record.Revision < uint64(written) {
		t.Errorf("%s: revision %d has %d values", key, record.Revision, written)
	}
	events := rows(store.KindEvent)
	for n, row := range events {
		if want := binary.BigEndian.AppendUint64(nil, record.EventHead-uint64(len(events)-1-n)); !bytes.Equal(row.Key, want) {
			t.Fatalf("%s: event %d of %d, up to %d, has the key %x", key, n, len(events), record.EventHead, row.Key)
		}
	}
	if len(events) == 0 && written > 0 {
		t.Errorf("%s: no event is kept of %d", key, written)
	}
	for _, row := range rows(store.KindSchedule) {
		if row.Key[0] != 0 { // not about schedules or rows as a whole
			t.Errorf("%s: the schedule %s has not run", key, row.Key)
		}
	}
	return log
}
