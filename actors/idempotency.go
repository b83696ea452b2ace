// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	storagev1 "github.com/troupe-dev/troupe/gen/go/troupe/storage/v1"
	"google.golang.org/protobuf/proto"
)

const (
	// autoKeyPrefix begins the idempotency keys that clients make by themselves.
	autoKeyPrefix = "auto-"
	// autoKeyRetention is how long the replies of such keys are kept.
	autoKeyRetention = 10 * time.Minute
	// maxKeptReply bounds a reply that is kept.
	maxKeptReply = 64 << 10
	// expireInterval is how often records that are over are removed.
	expireInterval = time.Minute
	// expireBatch is how many are removed at once.
	expireBatch = 256
)

// A record is two rows: the reply under its name, and the name under the time when
// it was made, to find the oldest ones. Both are due when the record is over, which
// counts at once and whose rows are removed some time later.
const (
	replyRow byte = 'k' // replyRow name
	orderRow byte = 'o' // orderRow microseconds name
)

// replyName is a digest of who called what with which idempotency key.
type replyName [16]byte

// replies is what an actor in memory knows of the records that it has. A name in it
// may have no record; one that is not there has none.
type replies map[replyName]struct{}

// IdempotencyRetention is how long the reply to a request with an idempotency key
// is kept. Default 24 h. The reply to a key that begins with "auto-", as clients
// make them by themselves, is kept for 10 minutes at most.
func IdempotencyRetention(d time.Duration) Option {
	return positive("IdempotencyRetention", d, func(l *limits) { l.replyRetention = d })
}

// IdempotencyRecords is how many replies an actor keeps. Default 10,000. The oldest
// ones are dropped for new ones.
func IdempotencyRecords(n int) Option {
	return positive("IdempotencyRecords", n, func(l *limits) { l.replyRecords = n })
}

// repeatable says whether the turn's call carries an idempotency key that counts.
func (t *turn) repeatable() bool {
	return t.call != nil && t.call.IdempotencyKey != "" && !t.readOnly && t.method != nil && !t.method.Subscription
}

// once runs the action of a call with an idempotency key, or gives the reply again
// that it got before.
func (t *turn) once(b *body) error {
	name, err := t.replyName()
	if err != nil {
		return err
	}
	digest, err := requestDigest(t.call.Request)
	if err != nil {
		return err
	}
	record, err := t.record(b, name)
	switch {
	case err != nil:
		return err
	case record != nil:
		return t.replay(record, digest)
	case t.exists:
		return alreadyExists(b.inst.idText)
	}
	if err := t.join(b); err != nil {
		return err
	}
	t.stream.keep = true
	if err := b.serve(t); err != nil {
		return err
	}
	return t.keep(b, name, digest)
}

func (t *turn) replyName() (name replyName, err error) {
	hash := sha256.New()
	for _, part := range []string{t.call.Subject, t.method.Spec.Procedure, t.call.IdempotencyKey} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		hash.Write(size[:])
		hash.Write([]byte(part))
	}
	copy(name[:], hash.Sum(nil))
	return name, nil
}

func requestDigest(request proto.Message) ([]byte, error) {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	digest := sha256.Sum256(encoded)
	return digest[:16], nil
}

// record returns what is kept under a name; nil if nothing is.
func (t *turn) record(b *body, name replyName) (*storagev1.IdempotencyRecord, error) {
	if b.replies == nil {
		if _, err := t.readReplies(b); err != nil {
			return nil, err
		}
	}
	if _, ok := b.replies[name]; !ok {
		return nil, nil //nolint:nilnil // nothing is kept
	}
	row, ok, err := t.row(t, store.KindIdempotency, append([]byte{replyRow}, name[:]...))
	if err != nil || !ok || !row.Due.After(t.queuedAt) {
		return nil, err
	}
	record := new(storagev1.IdempotencyRecord)
	if err := proto.Unmarshal(row.Value, record); err != nil {
		return nil, fmt.Errorf("decode an idempotency record: %w", err)
	}
	return record, nil
}

// readReplies reads which records there are, the oldest first.
func (t *turn) readReplies(b *body) ([]store.Row, error) {
	rows, err := t.scan(t, store.KindIdempotency, store.Range{From: []byte{orderRow}, To: []byte{orderRow + 1}})
	if err != nil {
		return nil, err
	}
	b.replies = make(replies, len(rows)+1)
	for _, row := range rows {
		var name replyName
		copy(name[:], row.Key[1+8:])
		b.replies[name] = struct{}{}
	}
	return rows, nil
}

// replay answers a request that was answered before.
func (t *turn) replay(record *storagev1.IdempotencyRecord, digest []byte) error {
	switch {
	case string(record.GetRequestDigest()) != string(digest):
		return &refusalError{refusal(connect.CodeInvalidArgument, "idempotency_key_reused", notExecuted,
			"the idempotency key was used with another request: use a new key for a new request")}
	case record.GetReplyDropped():
		return &refusalError{refusal(connect.CodeFailedPrecondition, "reply_not_kept", committed,
			"the request took effect, and its reply was larger than the %d bytes that are kept", maxKeptReply)}
	}
	reply := newMessage(t.method.output)
	if err := proto.Unmarshal(record.GetReply(), reply); err != nil {
		return fmt.Errorf("decode a kept reply: %w", err)
	}
	if len(record.GetHeaders()) > 0 && t.call.Info != nil {
		header := t.callInfo(t.call.Info).ResponseHeader()
		for _, h := range record.GetHeaders() {
			header.SetValues(h.GetName(), h.GetValues())
		}
	}
	return t.stream.Send(reply)
}

// keep makes the turn's reply part of what it commits.
func (t *turn) keep(b *body, name replyName, digest []byte) error {
	record := &storagev1.IdempotencyRecord{RequestDigest: digest, Reply: t.stream.binary}
	if len(record.GetReply()) > maxKeptReply {
		record.Reply, record.ReplyDropped = nil, true
	}
	if header := t.responseHeader(); header != nil {
		for name, values := range header.All() {
			record.Headers = append(record.Headers, &storagev1.IdempotencyRecord_Header{Name: name, Values: values})
		}
	}
	value, err := proto.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode an idempotency record: %w", err)
	}
	if err := t.dropOldest(b); err != nil {
		return err
	}
	limits := &b.inst.typ.limits
	retention := limits.replyRetention
	if strings.HasPrefix(t.call.IdempotencyKey, autoKeyPrefix) {
		retention = min(retention, autoKeyRetention)
	}
	order := binary.BigEndian.AppendUint64([]byte{orderRow}, uint64(t.queuedAt.UnixMicro())) //nolint:gosec // after 1970
	due := t.queuedAt.Add(retention)
	t.putRow(store.KindIdempotency, store.Row{Key: append([]byte{replyRow}, name[:]...), Value: value, Due: due})
	t.putRow(store.KindIdempotency, store.Row{Key: append(order, name[:]...), Due: due})
	b.replies[name] = struct{}{}
	return nil
}

// dropOldest makes room. It lets a few too many gather, and drops them together:
// finding the oldest means to look at all.
func (t *turn) dropOldest(b *body) error {
	limit := b.inst.typ.limits.replyRecords
	if len(b.replies) < limit+limit/64 {
		return nil
	}
	rows, err := t.readReplies(b)
	if err != nil {
		return err
	}
	for len(rows) >= limit {
		t.deleteRow(store.KindIdempotency, append([]byte{replyRow}, rows[0].Key[1+8:]...))
		t.deleteRow(store.KindIdempotency, rows[0].Key)
		rows = rows[1:]
	}
	return nil
}

// expire removes the rows of records that are over, until stop is closed.
func (h *Host) expire(stop <-chan struct{}) {
	ticker := time.NewTicker(expireInterval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-ticker.C:
			if err := h.expireRecords(stop, now); err != nil {
				h.log.Error("idempotency records that are over could not be removed", slog.Any("error", err))
			}
		}
	}
}

func (h *Host) expireRecords(stop <-chan struct{}, now time.Time) error {
	for shard := range h.shards {
		for {
			select {
			case <-stop:
				return nil
			default:
			}
			n, err := h.store.Expire(context.Background(), shard, store.KindIdempotency, now, expireBatch)
			if err != nil {
				return err
			}
			if n < expireBatch {
				break
			}
		}
	}
	return nil
}
