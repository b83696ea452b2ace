// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/gen/go/troupe/v1/troupev1connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// damaged is a store with a counter "a" whose state does not decode and that has
// rows.
func damaged(t *testing.T) (store.Store, []byte) {
	t.Helper()
	s, garbage := memory.New(memory.Options{}), []byte{0xff, 0xfe}
	w := &store.Write{Op: store.OpCreate, Record: store.Record{
		Address: store.Address{Namespace: "default", Type: counterType, Key: "a"}, ID: store.NewID(3),
		Revision: 1, State: garbage, EventHead: 5, CreatedAt: time.Now(),
	}}
	for kind := store.KindKV; kind <= store.KindIdempotency; kind++ {
		if kind == store.KindEvent {
			w.Rows = append(w.Rows, logRows(5)...)
			continue
		}
		for n := range 7 {
			w.Rows = append(w.Rows, store.RowWrite{Kind: kind, Row: store.Row{Key: fmt.Appendf(nil, "%d", n), Value: []byte{byte(kind), byte(n)}}})
		}
	}
	w.Rows = append(w.Rows, store.RowWrite{Kind: store.KindSchedule, Row: store.Row{Key: []byte("due"), Due: time.Now().Add(time.Hour)}})
	s.Commit(t.Context(), []*store.Write{w}).Wait()
	if w.Err != nil {
		t.Fatal(w.Err)
	}
	return s, garbage
}

// logRows is an event log of n events of two bytes each.
func logRows(n uint64) (rows []store.RowWrite) {
	for number := uint64(1); number <= n; number++ {
		value := binary.BigEndian.AppendUint32([]byte{byte(store.KindEvent), 0}, 2) // the event's field
		value = binary.BigEndian.AppendUint64(value, uint64(time.Now().UnixNano()))
		value = binary.BigEndian.AppendUint64(value, 2*number) // bytes so far
		rows = append(rows, store.RowWrite{Kind: store.KindEvent, Row: store.Row{
			Key: binary.BigEndian.AppendUint64(nil, number), Value: append(value, 0, 1), // no connection spared; version 1
		}})
	}
	return rows
}

// TestP43_ABrokenActorIsExportedRepairedAndReset goes the whole way over the wire.
func TestP43_ABrokenActorIsExportedRepairedAndReset(t *testing.T) {
	t.Parallel()
	s, garbage := damaged(t)
	b := setup(t, func(cfg *Config) { cfg.Store = s })
	ctx, service := t.Context(), b.lifecycle()
	increment := func() (int64, error) {
		called, _ := at(ctx, "actor-key", "a")
		reply, err := b.counters().Increment(called, &counterv1.IncrementRequest{Amount: 1})
		return reply.GetCount(), err
	}
	_, err := increment()
	assertError(t, err, connect.CodeFailedPrecondition, "actor_quarantined", "troupe.v1")
	got, err := service.Get(ctx, &troupev1.GetRequest{Address: address("a")})
	if actor := got.GetActor(); err != nil || actor.GetStatus() != troupev1.Actor_STATUS_QUARANTINED || actor.GetLastError() == "" || actor.GetLastErrorAt() == nil {
		t.Errorf("Get: %v, %v", actor, err)
	}

	for size := range int32(9) {
		export := &troupev1.ExportRequest{Address: address("a"), PageSize: size}
		var rows []*troupev1.Row
		for first := true; first || export.GetPageToken() != ""; first = false {
			page, err := service.Export(ctx, export)
			if err != nil {
				t.Fatal(err)
			}
			if first != bytes.Equal(page.GetState(), garbage) || page.GetEventHead() != 5 || page.GetActor().GetRevision() != 1 {
				t.Errorf("Export: %v", page)
			}
			if size > 0 && len(page.GetRows()) > int(size) {
				t.Errorf("a page of %d has %d rows", size, len(page.GetRows()))
			}
			rows = append(rows, page.GetRows()...)
			export.PageToken = page.GetNextPageToken()
		}
		if len(rows) != 34 || rows[0].GetKind() != troupev1.Row_KIND_KV || rows[33].GetKind() != troupev1.Row_KIND_IDEMPOTENCY {
			t.Fatalf("pages of %d have %d rows: %v", size, len(rows), rows)
		}
		for n, row := range rows {
			if n > 0 && (row.GetKind() < rows[n-1].GetKind() || row.GetKind() == rows[n-1].GetKind() && string(row.GetKey()) <= string(rows[n-1].GetKey())) {
				t.Errorf("row %d is out of order: %v", n, row)
			}
			if due := string(row.GetKey()) == "due"; due != (row.GetDueAt() != nil) || !due && row.GetValue()[0] != byte(row.GetKind()) {
				t.Errorf("row %d: %v", n, row)
			}
		}
	}

	repair := &troupev1.RepairRequest{Address: address("a"), Revision: 7, State: &troupev1.RepairRequest_Json{Json: `{"count": "41"}`}}
	_, err = service.Repair(ctx, repair)
	assertError(t, err, connect.CodeAborted, "revision_mismatch", "troupe.v1")
	repair.Revision, repair.State = 1, &troupev1.RepairRequest_Json{Json: `{"number": 41}`}
	_, err = service.Repair(ctx, repair)
	assertError(t, err, connect.CodeInvalidArgument, "bad_actor_state", "troupe.v1")
	repair.State = nil
	_, err = service.Repair(ctx, repair)
	assertError(t, err, connect.CodeInvalidArgument, "invalid_message", "troupe.v1")
	repair.State = &troupev1.RepairRequest_Json{Json: `{"count": "41"}`}
	repaired, err := service.Repair(ctx, repair)
	if err != nil || repaired.GetActor().GetRevision() != 2 || repaired.GetActor().GetStatus() != troupev1.Actor_STATUS_SLEEPING {
		t.Fatalf("Repair: %v, %v", repaired, err)
	}
	if count, err := increment(); err != nil || count != 42 {
		t.Errorf("after the repair: %d, %v", count, err)
	}
	encoded, _ := proto.Marshal(&counterv1.CounterState{Count: 9})
	if _, err = service.Repair(ctx, &troupev1.RepairRequest{Address: address("a"), Revision: 3, State: &troupev1.RepairRequest_Binary{Binary: encoded}}); err != nil {
		t.Fatal(err)
	}
	if count, err := increment(); err != nil || count != 10 {
		t.Errorf("after the second repair: %d, %v", count, err)
	}
	if _, err = service.Reset(ctx, &troupev1.ResetRequest{Address: address("a"), Revision: 5}); err != nil {
		t.Fatal(err)
	}
	if count, err := increment(); err != nil || count != 1 {
		t.Errorf("after the reset: %d, %v", count, err)
	}
	if page, err := service.Export(ctx, &troupev1.ExportRequest{Address: address("a")}); err != nil || len(page.GetRows()) != 34+3 {
		t.Errorf("after the reset there are %d rows, %v", len(page.GetRows()), err)
	}
	if _, err = service.Lift(ctx, &troupev1.LiftRequest{Address: address("a")}); err != nil {
		t.Error(err)
	}
	for _, act := range []string{"act=Export", "act=Repair outcome=aborted", "act=Repair outcome=ok", "act=Reset outcome=ok", "act=Lift outcome=ok"} {
		if !strings.Contains(b.logs.String(), "msg=audit "+act) {
			t.Errorf("the log has no %q", act)
		}
	}
}

// TestP14_DamageIsShownAndRepairedOverTheWire has the record of an actor fail its
// checksum.
func TestP14_DamageIsShownAndRepairedOverTheWire(t *testing.T) {
	t.Parallel()
	s, garbage := damaged(t)
	addr := store.Address{Namespace: "default", Type: counterType, Key: "a"}
	s.(*memory.Store).Damage(addr, func(r *store.Record) { r.State[1] ^= 4 })
	b := setup(t, func(cfg *Config) { cfg.Store = s })
	ctx, service := t.Context(), b.lifecycle()
	increment := func() (int64, error) {
		called, _ := at(ctx, "actor-key", "a")
		reply, err := b.counters().Increment(called, &counterv1.IncrementRequest{Amount: 1})
		return reply.GetCount(), err
	}
	got, err := service.Get(ctx, &troupev1.GetRequest{Address: address("a")})
	if actor := got.GetActor(); err != nil || !actor.GetDamaged() || actor.GetStatus() != troupev1.Actor_STATUS_QUARANTINED || actor.GetLastError() == "" || actor.GetLastErrorAt() != nil {
		t.Errorf("Get: %v, %v", actor, err)
	}
	_, err = increment()
	assertError(t, err, connect.CodeDataLoss, "data_loss", "troupe.v1")
	list, err := service.List(ctx, &troupev1.ListRequest{})
	if err != nil || len(list.GetActors()) != 1 || !list.GetActors()[0].GetDamaged() {
		t.Errorf("List: %v, %v", list, err)
	}
	page, err := service.Export(ctx, &troupev1.ExportRequest{Address: &troupev1.Address{Id: got.GetActor().GetId()}})
	if err != nil || !page.GetActor().GetDamaged() || len(page.GetRows()) != 34 || !bytes.Equal(page.GetState(), []byte{garbage[0], garbage[1] ^ 4}) {
		t.Fatalf("Export: %v, %v", page, err)
	}
	_, err = service.Quarantine(ctx, &troupev1.QuarantineRequest{Address: address("a")})
	assertError(t, err, connect.CodeDataLoss, "data_loss", "troupe.v1")
	repair := &troupev1.RepairRequest{Address: address("a"), Revision: page.GetActor().GetRevision() + 1, State: &troupev1.RepairRequest_Json{Json: `{"count": "41"}`}}
	_, err = service.Repair(ctx, repair)
	assertError(t, err, connect.CodeAborted, "revision_mismatch", "troupe.v1")
	repair.Revision--
	repaired, err := service.Repair(ctx, repair)
	if actor := repaired.GetActor(); err != nil || actor.GetDamaged() || actor.GetId() != got.GetActor().GetId() || actor.GetStatus() != troupev1.Actor_STATUS_SLEEPING {
		t.Fatalf("Repair: %v, %v", actor, err)
	}
	if count, err := increment(); err != nil || count != 42 {
		t.Errorf("after the repair: %d, %v", count, err)
	}

	s.(*memory.Store).Damage(addr, func(*store.Record) {})
	destroyed, err := service.Destroy(ctx, &troupev1.DestroyRequest{Address: address("a")})
	if err != nil || destroyed.GetId() != got.GetActor().GetId() {
		t.Errorf("Destroy: %v, %v", destroyed, err)
	}
	if count, err := increment(); err != nil || count != 1 {
		t.Errorf("the heir: %d, %v", count, err)
	}
}

// TestChangesAreAudited calls every method of the ActorService that may change
// something which only those who run the server may change.
func TestChangesAreAudited(t *testing.T) {
	t.Parallel()
	b := setup(t, authenticated)
	public := map[protoreflect.Name]bool{"Create": true, "GetOrCreate": true, "Get": true, "Resolve": true}
	methods := troupev1.File_troupe_v1_actor_service_proto.Services().ByName("ActorService").Methods()
	for i := range methods.Len() {
		m := methods.Get(i)
		if public[m.Name()] || sharesStream(m) || strings.HasPrefix(string(m.Name()), "List") {
			continue
		}
		response := b.rpc(t.Context(), t, m, procedureOf(m), headers("Authorization", "root"), sample(m.Input(), address("a")))
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		line := "msg=audit act=" + string(m.Name()) + " "
		_, rest, ok := strings.Cut(b.logs.String(), line)
		rest, _, _ = strings.Cut(rest, "\n")
		if !ok || !strings.Contains(rest, "subject=root") {
			t.Errorf("the log has no line %q of root: %q", line, rest)
		}
	}
}

func TestP45_CompactOverTheWire(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	_, err := b.lifecycle().Compact(t.Context(), &troupev1.CompactRequest{})
	assertError(t, err, connect.CodeUnimplemented, "unimplemented", "troupe.v1")

	disk, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b = setup(t, func(cfg *Config) { cfg.Store = disk })
	if _, err := b.lifecycle().Compact(t.Context(), &troupev1.CompactRequest{}); err != nil {
		t.Error(err)
	}
}

// TestCaretakingNeedsTheServerRole calls from a listener of someone else, where an
// actor's errors are not told either.
func TestCaretakingNeedsTheServerRole(t *testing.T) {
	t.Parallel()
	s, _ := damaged(t)
	b := setup(t, func(cfg *Config) { cfg.Store = s })
	foreign := startForeign(t, b.Handler())
	service := troupev1connect.NewActorServiceClient(connect.NewClient(connecthttp.NewTransport(b.h1, foreign)))
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Export": func() error {
			_, err := service.Export(ctx, &troupev1.ExportRequest{Address: address("a")})
			return err
		},
		"Repair": func() error {
			_, err := service.Repair(ctx, &troupev1.RepairRequest{Address: address("a"), Revision: 1})
			return err
		},
		"Reset": func() error {
			_, err := service.Reset(ctx, &troupev1.ResetRequest{Address: address("a"), Revision: 1})
			return err
		},
		"Lift":    func() error { _, err := service.Lift(ctx, &troupev1.LiftRequest{Address: address("a")}); return err },
		"Compact": func() error { _, err := service.Compact(ctx, &troupev1.CompactRequest{}); return err },
	} {
		t.Log(name)
		assertError(t, call(), connect.CodePermissionDenied, "server_role_required", "troupe.v1")
	}
	called, _ := at(ctx, "actor-key", "a")
	_, err := b.counters().Increment(called, &counterv1.IncrementRequest{Amount: 1})
	assertError(t, err, connect.CodeFailedPrecondition, "actor_quarantined", "troupe.v1")
	got, err := service.Get(ctx, &troupev1.GetRequest{Address: address("a")})
	if err != nil || got.GetActor().GetStatus() != troupev1.Actor_STATUS_QUARANTINED || got.GetActor().GetLastError() != "" {
		t.Errorf("Get: %v, %v", got, err)
	}
}
