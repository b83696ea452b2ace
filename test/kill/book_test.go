// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package kill_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/embedded"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	"google.golang.org/protobuf/proto"
)

// book is what is stored of one account, by amounts.
type book struct {
	paid, ran, got  map[int64]bool // what its pairs say
	scheduled, sent map[int64]bool // what is still to run, and to be received
	balance         int64
	head            uint64
}

// readBooks reads the store that a kill has left, and holds that every account fits
// its rows, and the accounts each other.
func readBooks(t *testing.T, data string) []*book {
	t.Helper()
	s, err := embedded.Open(data, embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	books := make([]*book, accounts)
	for n := range books {
		books[n] = readBook(t, s, n)
	}
	for n, b := range books {
		if odd := differs(union(t, b.ran, b.scheduled, true), b.paid); len(odd) > 0 {
			t.Errorf("account %d: of its payments, these have neither run nor are scheduled: %d", n, odd)
		}
		// A message that the other side has taken may be in the outbox still.
		if odd := differs(union(t, books[(n+1)%accounts].got, b.sent, false), b.paid); len(odd) > 0 {
			t.Errorf("account %d: of its payments, these have neither been received nor are on their way: %d", n, odd)
		}
		if want := sum(b.got) - sum(b.paid); b.balance != want {
			t.Errorf("account %d: the balance is %d and must be %d", n, b.balance, want)
		}
		if want := uint64(len(b.paid) + len(b.ran) + len(b.got)); b.head != want {
			t.Errorf("account %d: %d events were published in %d turns", n, b.head, want)
		}
	}
	return books
}

func readBook(t *testing.T, s store.Store, number int) *book {
	t.Helper()
	b := &book{
		paid: make(map[int64]bool), ran: make(map[int64]bool), got: make(map[int64]bool),
		scheduled: make(map[int64]bool), sent: make(map[int64]bool),
	}
	record, err := s.Load(t.Context(), store.Address{
		Namespace: "default", Type: counterv1connect.CounterName, Key: strconv.Itoa(number),
	})
	if err != nil {
		t.Fatalf("account %d: %v", number, err)
	}
	state := new(counterv1.CounterState)
	if err := proto.Unmarshal(record.State, state); err != nil {
		t.Fatal(err)
	}
	b.balance, b.head = state.GetCount(), record.EventHead
	kept, keptCounted := 0, uint64(0) // bytes of rows
	rows := func(kind store.Kind) []store.Row {
		rows, err := s.Scan(t.Context(), record.ID, kind, store.Range{})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if kind == store.KindSchedule && string(row.Key) == "\x00b" {
				keptCounted, _ = binary.Uvarint(row.Value)
			} else if kind != store.KindEvent {
				kept += len(row.Key) + len(row.Value)
			}
		}
		return rows
	}
	for _, row := range rows(store.KindKV) {
		what, text, _ := strings.Cut(string(row.Key), " ")
		amount, err := strconv.ParseInt(text, 10, 64)
		set := map[string]map[int64]bool{"paid": b.paid, "ran": b.ran, "got": b.got}[what]
		if err != nil || set == nil || len(row.Value) != 1 {
			t.Errorf("account %d: %q took effect %d times", number, row.Key, len(row.Value))
			continue
		}
		set[amount] = true
	}
	counted := uint64(0)
	for _, row := range rows(store.KindSchedule) {
		if row.Key[0] == 0 { // about schedules or rows as a whole
			if len(row.Key) == 1 {
				counted, _ = binary.Uvarint(row.Value)
			}
			continue
		}
		schedule := new(storagev1.Schedule)
		b.scheduled[amountOf(t, row, schedule, schedule.GetRequest)] = true
	}
	if counted != uint64(len(b.scheduled)) {
		t.Errorf("account %d: %d schedules are counted, and %d are there", number, counted, len(b.scheduled))
	}
	head := new(storagev1.Outbox)
	for _, row := range rows(store.KindOutbox) {
		message := new(storagev1.OutboxMessage)
		switch row.Key[0] {
		case 'h':
			if err := proto.Unmarshal(row.Value, head); err != nil {
				t.Fatal(err)
			}
		case 'm', 'd': // one that several kills in a row have hit is dead: see follow
			b.sent[amountOf(t, row, message, message.GetRequest)] = true
		}
	}
	if head.GetHeld() != uint32(len(b.sent)) {
		t.Errorf("account %d: %d messages are counted, and %d are there", number, head.GetHeld(), len(b.sent))
	}
	if keptCounted != uint64(kept) {
		t.Errorf("account %d: %d bytes of rows are counted, and %d are there", number, keptCounted, kept)
	}
	b.checkLog(t, number, rows(store.KindEvent))
	return b
}

// checkLog holds that the log's numbers have no gap, and end where the record says.
func (b *book) checkLog(t *testing.T, number int, rows []store.Row) {
	t.Helper()
	for n, row := range rows {
		if want := binary.BigEndian.AppendUint64(nil, b.head-uint64(len(rows)-1-n)); !bytes.Equal(row.Key, want) {
			t.Errorf("account %d: event %d of %d, up to number %d, has the key %x", number, n, len(rows), b.head, row.Key)
			return
		}
	}
	if len(rows) == 0 && b.head > 0 {
		t.Errorf("account %d: no event is kept of %d", number, b.head)
	}
}

// amountOf decodes a stored row and the request in it.
func amountOf(t *testing.T, row store.Row, into proto.Message, encoded func() []byte) int64 {
	t.Helper()
	request := new(counterv1.IncrementRequest)
	if err := proto.Unmarshal(row.Value, into); err != nil {
		t.Fatalf("the row %x: %v", row.Key, err)
	}
	if err := proto.Unmarshal(encoded(), request); err != nil {
		t.Fatalf("the request in the row %x: %v in value %x", row.Key, err, row.Value)
	}
	return request.GetAmount()
}

func union(t *testing.T, a, b map[int64]bool, apart bool) map[int64]bool {
	t.Helper()
	both := maps.Clone(a)
	for amount := range b {
		if apart && a[amount] {
			t.Errorf("%d has run and is scheduled still", amount)
		}
		both[amount] = true
	}
	return both
}

func sum(amounts map[int64]bool) (total int64) {
	for amount := range amounts {
		total += amount
	}
	return total
}
