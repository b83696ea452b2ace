// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
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
	// expireGrace is how much later than it is over a record is removed: a repeated
	// request that was let in before may wait for its turn as long as an action may
	// take, and must find it.
	expireGrace = 300 * time.Second
	// expireBatch is how many are removed at once.
	expireBatch = 256
)

// reasonBadKey refuses a key that is too long, or of a call that cannot have one.
const reasonBadKey = "bad_idempotency_key"

// replyName is a digest of who called what with which idempotency key.
type replyName [16]byte

// replies is what an actor in memory knows of the records that it has.
type replies struct {
	known map[replyName]keptReply // a name without a record is not in it
	order [2][]keptReply          // the oldest first: of those kept for autoKeyRetention at most, and of the others
}

// orderOf is where the reply is in order: those there are over in that order too.
func (r *replies) orderOf(kept keptReply) *[]keptReply {
	if kept.due-kept.made <= autoKeyRetention.Microseconds() {
		return &r.order[0]
	}
	return &r.order[1]
}

func (r *replies) add(kept keptReply) {
	r.known[kept.name] = kept
	order := r.orderOf(kept)
	*order = append(*order, kept)
}

// drop takes out those that are over, and the oldest one if there are as many as the
// limit, which it returns.
func (r *replies) drop(now int64, limit int) (oldest keptReply, dropped bool) {
	for n := range r.order {
		for len(r.order[n]) > 0 && r.order[n][0].due <= now {
			r.dropFirst(n)
		}
	}
	auto, other := r.order[0], r.order[1]
	switch {
	case len(auto)+len(other) < limit:
		return keptReply{}, false
	case len(other) == 0, len(auto) > 0 && auto[0].made < other[0].made:
		return r.dropFirst(0), true
	}
	return r.dropFirst(1), true
}

func (r *replies) dropFirst(n int) keptReply {
	first := r.order[n][0]
	if r.known[first.name] == first { // and not made anew since
		delete(r.known, first.name)
	}
	r.order[n] = r.order[n][1:]
	return first
}

// keptReply is where a record is: its row's key is made, due and name, in this order,
// so that the keys alone tell all. The row is due when the record is over, which
// counts at once, and it is removed some time later.
type keptReply struct {
	made, due int64 // in microseconds since 1970
	name      replyName
}

func (r keptReply) key() []byte {
	key := make([]byte, 0, 8+8+len(r.name))
	key = binary.BigEndian.AppendUint64(key, uint64(r.made))
	key = binary.BigEndian.AppendUint64(key, uint64(r.due))
	return append(key, r.name[:]...)
}

func parseKeptReply(key []byte) (r keptReply, err error) {
	if len(key) != 8+8+len(r.name) {
		return r, fmt.Errorf("an idempotency record's key has %d bytes", len(key))
	}
	r.made = int64(binary.BigEndian.Uint64(key))
	r.due = int64(binary.BigEndian.Uint64(key[8:]))
	r.name = replyName(key[16:])
	return r, nil
}

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
	name := t.replyName()
	digest, err := requestDigest(t.call.Request)
	if err != nil {
		return err
	}
	record, err := t.recall(b, name)
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

func (t *turn) replyName() (name replyName) {
	hash := sha256.New()
	for _, part := range []string{t.call.Subject, t.method.Spec.Procedure, t.call.IdempotencyKey} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		hash.Write(size[:])
		hash.Write([]byte(part))
	}
	copy(name[:], hash.Sum(nil))
	return name
}

func requestDigest(request proto.Message) ([]byte, error) {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	digest := sha256.Sum256(encoded)
	return digest[:16], nil
}

// recall returns what is kept under a name; nil if nothing is.
func (t *turn) recall(b *body, name replyName) (*storagev1.IdempotencyRecord, error) {
	if b.replies == nil {
		if err := t.readReplies(b); err != nil {
			return nil, err
		}
	}
	kept, ok := b.replies.known[name]
	if !ok || kept.due <= t.queuedAt.UnixMicro() {
		return nil, nil //nolint:nilnil // nothing is kept
	}
	row, ok, err := t.row(t, store.KindIdempotency, kept.key())
	if err != nil || !ok {
		return nil, err
	}
	record := new(storagev1.IdempotencyRecord)
	if err := proto.Unmarshal(row.Value, record); err != nil {
		return nil, t.corrupt(fmt.Errorf("decode an idempotency record: %w", err))
	}
	return record, nil
}

// readReplies reads which records there are.
func (t *turn) readReplies(b *body) error {
	rows, err := t.scan(t, store.KindIdempotency, store.Range{KeysOnly: true})
	if err != nil {
		return err
	}
	b.replies = &replies{known: make(map[replyName]keptReply, len(rows)+1)}
	for _, row := range rows {
		kept, err := parseKeptReply(row.Key)
		if err != nil {
			return t.corrupt(err)
		}
		b.replies.add(kept)
	}
	return nil
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
	limits := &b.inst.typ.limits
	retention := limits.replyRetention
	if strings.HasPrefix(t.call.IdempotencyKey, autoKeyPrefix) {
		retention = min(retention, autoKeyRetention)
	}
	t.kept = true
	if oldest, dropped := b.replies.drop(t.queuedAt.UnixMicro(), limits.replyRecords); dropped {
		t.deleteRow(store.KindIdempotency, oldest.key()) // the rows of those that are over are left to Host.expire
	}
	due := t.queuedAt.Add(retention)
	kept := keptReply{name: name, made: t.queuedAt.UnixMicro(), due: due.UnixMicro()}
	t.putRow(store.KindIdempotency, store.Row{Key: kept.key(), Value: value, Due: due})
	b.replies.add(kept)
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
			if err := h.expireRecords(stop, now.Add(-expireGrace)); err != nil {
				h.log.Error("idempotency records that are over could not be removed", slog.Any("error", err))
			}
		}
	}
}

// expireRecords removes the rows of all shards that it can.
func (h *Host) expireRecords(stop <-chan struct{}, now time.Time) (failed error) {
	for shard := range h.shards {
		for h.admits(shard) {
			select {
			case <-stop:
				return failed
			default:
			}
			n, err := h.store.Expire(context.Background(), shard, store.KindIdempotency, now, expireBatch)
			if errors.Is(err, store.ErrUnavailable) { // so are the others
				return err
			}
			if err != nil {
				failed = fmt.Errorf("shard %d: %w", shard, err)
			}
			if err != nil || n < expireBatch {
				break
			}
		}
	}
	return failed
}
