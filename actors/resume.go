// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors/store"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/seedbug"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// replayPage is how many events of the log are read at a time.
const replayPage = 64

// opening is what a subscription asks for.
type opening struct {
	filter  eventFilter
	resumes bool
	cursors string // the incarnation to resume, as its cursors begin
	number  uint64 // the event to resume after
}

// opening reads what a call asks for, before anything is made for it.
func (typ *actorType) opening(call *Call) (o opening, err error) {
	if o.filter, err = typ.events.filter(call.Events); err != nil || call.Resume == "" {
		return o, err
	}
	o.resumes = true
	if o.cursors, o.number, err = parseCursor(call.Resume); err != nil {
		return o, &refusalError{refusal(connect.CodeInvalidArgument, "bad_actor_resume", notExecuted, "actor-resume is %s", err)}
	}
	return o, nil
}

// begin returns the number of the event that a connection begins after, or refuses
// to resume it.
func (o *opening) begin(t *turn, b *body) (uint64, error) {
	i := b.inst
	head := i.eventHead
	switch {
	case !o.resumes, o.cursors == i.cursors && o.number == head:
		return head, nil
	case o.cursors != i.cursors && !seedbug.On(13), o.number > head, i.typ.limits.events.none:
		return 0, i.lostPlace(head)
	}
	if err := b.openLog(t, head); err != nil {
		return 0, err
	}
	if o.number+1 < b.log.first {
		return 0, i.lostPlace(head)
	}
	event, ok, err := t.logged(t, o.number+1)
	if err != nil {
		return 0, err
	}
	if !ok {
		i.mu.Lock()
		pending := i.entry != nil
		i.mu.Unlock()
		if pending {
			return 0, errNotStored
		}
		// The commit that has the event may have ended since it was looked for.
		if event, ok, err = t.logged(t, o.number+1); err != nil {
			return 0, err
		}
		if !ok {
			return 0, i.lostPlace(head)
		}
	}
	if !i.typ.limits.events.holds(event.number, head, b.log.total-(event.total-event.size()), time.Since(time.Unix(0, event.at))) {
		return 0, i.lostPlace(head)
	}
	if seedbug.On(12) {
		return o.number + 1, nil
	}
	return o.number, nil
}

// errNotStored says that the log has the event to begin with and the store does not
// have it yet. Whoever gets it has waited for the store, as for every answer.
var errNotStored = errors.New("actors: the log is not stored yet")

// lostPlace refuses to resume where the log cannot go on, and says where it is.
func (i *instance) lostPlace(head uint64) error {
	cursor := cursorText(i.cursors, head)
	err := connect.Errorf(connect.CodeOutOfRange, "the events after this cursor cannot be replayed; the newest cursor is %s", cursor)
	err = withDetail(err, &errdetails.ErrorInfo{
		Reason:   "cursor_out_of_range",
		Domain:   runtimeDomain,
		Metadata: map[string]string{"cursor": cursor, "head": strconv.FormatUint(head, 10)},
	})
	return &refusalError{withDetail(err, &troupev1.Outcome{Outcome: notExecuted})}
}

// replay sends one page of the log to a connection that is behind it. Frames that
// take no number wait for those before them. Once nothing is left the connection
// goes on from its queue: both follow one count, so none is missed or sent twice.
func (s *Subscription) replay(ctx context.Context, sink Sink) (sent bool, why *closing, err error) {
	c := s.conn
	var upto uint64
	s.frames, upto, s.behind, why = c.takeBehind(s.frames, s.considered)
	switch {
	case why != nil && why.reason != troupev1.CloseReason_CLOSE_REASON_DISCONNECTED:
		return s.due(sink, why)
	case !s.behind:
		return true, nil, s.send(sink, s.frames)
	}
	events, err := s.page(ctx, upto)
	if err != nil {
		return false, nil, err
	}
	if len(events) == 0 {
		return false, s.trimmed(why), nil
	}
	info := infoWriter{union: c.inst.typ.events, cursors: c.cursors}
	page := make([]*Frame, 0, len(events))
	for n := range events {
		event := &events[n]
		for len(s.frames) > 0 && s.frames[0].head < event.number {
			page, s.frames = append(page, s.frames[0]), s.frames[1:]
		}
		if c.filter.wants(event.field) && event.except != c.id {
			page = append(page, info.replayed(event))
		}
	}
	c.taken.Store(int32(len(s.frames)))
	if len(page) > 0 {
		err = s.send(sink, page)
	}
	s.considered = events[len(events)-1].number
	return true, nil, err
}

// due sends what waits for nothing in the log, such as the frame that opens the
// stream, before the stream ends.
func (s *Subscription) due(sink Sink, why *closing) (bool, *closing, error) {
	n := 0
	for n < len(s.frames) && s.frames[n].head <= s.considered {
		n++
	}
	if n == 0 {
		return false, why, nil
	}
	due := s.frames[:n]
	s.frames = s.frames[n:]
	return true, why, s.send(sink, due)
}

// page reads the next events of the log up to one; none if the next one is there no
// more.
func (s *Subscription) page(ctx context.Context, upto uint64) ([]loggedEvent, error) {
	rows, err := s.host.store.Scan(ctx, s.conn.actor, store.KindEvent,
		store.Range{From: logKey(s.considered + 1), To: logKey(upto + 1), Limit: replayPage})
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	events := make([]loggedEvent, 0, len(rows))
	for n := range rows {
		event, readErr := readLogged(rows[n])
		if readErr != nil {
			err = readErr
		}
		if err != nil || event.number != s.considered+1+uint64(n) {
			break
		}
		events = append(events, event)
	}
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return nil, refusal(connect.CodeDataLoss, "data_loss", notExecuted, "the actor's stored events are corrupt")
	case err != nil:
		return nil, wireError(ctx, s.host.log, s.method, fmt.Errorf("read the event log: %w", err))
	}
	return events, nil
}

// trimmed says how a stream ends whose next event has left the log: it was too slow
// to replay, unless the actor is no more.
func (s *Subscription) trimmed(why *closing) *closing {
	i := s.conn.inst
	i.mu.Lock()
	destroying := i.destroying || i.gone
	i.mu.Unlock()
	if why != nil || destroying {
		return why // in time
	}
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.conn.cutLocked()
	return s.conn.closing
}

// takeBehind gives what waits to the stream's goroutine, in addition to what it
// holds, and says how far the log is to be replayed. Behind is false if there is
// nothing more to replay: from then on every event enters the queue.
func (c *Conn) takeBehind(held []*Frame, considered uint64) (frames []*Frame, upto uint64, behind bool, why *closing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	frames = append(held, c.queue...)
	clear(c.queue)
	c.queue, c.bytes = c.queue[:0], 0
	c.taken.Store(int32(len(frames)))
	c.behind = considered < c.logged
	return frames, c.logged, c.behind, c.closing
}

// replayed makes the frame of an event of the log: the bytes that its subscribers
// got.
func (w *infoWriter) replayed(event *loggedEvent) *Frame {
	encoded := make([]byte, eventHeadroom+len(event.encoded))
	copy(encoded[eventHeadroom:], event.encoded)
	w.at, w.encoded = time.Unix(0, event.at), nil
	f := w.frame(encoded, event.number)
	f.field, f.numbered = event.field, true
	return f
}
