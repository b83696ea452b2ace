// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// eventUnion is the shape of a subscription's response.
type eventUnion struct {
	message protoreflect.MessageType
	info    protoreflect.FieldNumber
	oneof   protoreflect.OneofDescriptor
	kinds   map[protoreflect.FieldNumber]*eventKind
}

// eventKind is one event of a union: a field of its oneof.
type eventKind struct {
	field    protoreflect.FieldDescriptor
	delivery troupev1.Delivery
	key      protoreflect.FieldDescriptor // of COALESCE; nil: all events of the kind have one key
}

// numbered says whether the event is part of the durable log and takes a number.
func (k *eventKind) numbered() bool { return k.delivery == troupev1.Delivery_DELIVERY_DURABLE }

func newEventUnion(message protoreflect.MessageType) (*eventUnion, error) {
	md := message.Descriptor()
	u := &eventUnion{message: message, kinds: make(map[protoreflect.FieldNumber]*eventKind)}
	for i := range md.Fields().Len() {
		field := md.Fields().Get(i)
		switch {
		case field.Kind() == protoreflect.MessageKind && field.Message().FullName() == "troupe.v1.EventInfo" && field.Cardinality() != protoreflect.Repeated:
			u.info = field.Number()
		case field.ContainingOneof() != nil && !field.ContainingOneof().IsSynthetic():
			if u.oneof != nil && u.oneof != field.ContainingOneof() {
				return nil, fmt.Errorf("%s has two oneofs: an event union has one", md.FullName())
			}
			u.oneof = field.ContainingOneof()
			kind, err := newEventKind(field)
			if err != nil {
				return nil, err
			}
			u.kinds[field.Number()] = kind
		default:
			return nil, fmt.Errorf("%s has the field %s: an event union has one troupe.v1.EventInfo field and one oneof of events", md.FullName(), field.Name())
		}
	}
	switch {
	case u.info == 0:
		return nil, fmt.Errorf("%s has no troupe.v1.EventInfo field: add `troupe.v1.EventInfo info = 1;`", md.FullName())
	case u.oneof == nil:
		return nil, fmt.Errorf("%s has no events: add `oneof event {…}`", md.FullName())
	}
	return u, nil
}

func newEventKind(field protoreflect.FieldDescriptor) (*eventKind, error) {
	options, _ := proto.GetExtension(field.Options(), troupev1.E_Event).(*troupev1.EventOptions)
	k := &eventKind{field: field, delivery: options.GetDelivery()}
	if k.delivery == troupev1.Delivery_DELIVERY_UNSPECIFIED {
		k.delivery = troupev1.Delivery_DELIVERY_DURABLE
	}
	name := options.GetCoalesceKey()
	if name == "" {
		return k, nil
	}
	if k.delivery != troupev1.Delivery_DELIVERY_COALESCE {
		return nil, fmt.Errorf("%s has a coalesce_key and is not delivered with DELIVERY_COALESCE: add the delivery or remove the key", field.FullName())
	}
	if event := field.Message(); event != nil {
		k.key = event.Fields().ByName(protoreflect.Name(name))
	}
	if k.key == nil || k.key.Cardinality() == protoreflect.Repeated || k.key.Message() != nil {
		return nil, fmt.Errorf("%s has the coalesce_key %q, which is not a scalar field of the event", field.FullName(), name)
	}
	return k, nil
}

// slot names what replaces what in a subscriber's buffer. The zero slot replaces
// nothing.
type slot struct {
	field protoreflect.FieldNumber
	key   string
}

// slot returns the slot of an event of this kind.
func (k *eventKind) slot(union protoreflect.Message) slot {
	if k.delivery != troupev1.Delivery_DELIVERY_COALESCE {
		return slot{}
	}
	s := slot{field: k.field.Number()}
	if k.key != nil {
		s.key = union.Get(k.field).Message().Get(k.key).String()
	}
	return s
}

// eventFilter says which events of a union a subscriber wants, by their fields'
// numbers; nil is all of them.
type eventFilter map[protoreflect.FieldNumber]bool

// wants says whether a frame is for the subscriber. Frames that speak of the stream
// always are.
func (f eventFilter) wants(field protoreflect.FieldNumber) bool {
	return f == nil || field == 0 || f[field]
}

// filter reads a list of events: their names, as the schema or JSON has them, with
// commas between. The empty list is every event.
func (u *eventUnion) filter(list string) (eventFilter, error) {
	if list == "" {
		return nil, nil //nolint:nilnil // no filter
	}
	filter := make(eventFilter)
	fields := u.oneof.Fields()
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		field := fields.ByName(protoreflect.Name(name))
		if field == nil {
			field = fields.ByJSONName(name)
		}
		if field == nil {
			return nil, &refusalError{refusal(connect.CodeInvalidArgument, "bad_actor_events", notExecuted,
				"%s has no event %q", u.message.Descriptor().FullName(), name)}
		}
		filter[field.Number()] = true
	}
	return filter, nil
}

// pendingEvent is something that waits for its turn's end to be sent.
type pendingEvent struct {
	encoded  []byte // see encodeEvent
	field    protoreflect.FieldNumber
	slot     slot
	numbered bool
	targeted bool    // to whom it goes is to, not every connection
	to       []*Conn // see targeted
	except   *Conn
	closing  *closing // instead of an event: to are disconnected
}

// size is the encoded event's, without its EventInfo.
func (e *pendingEvent) size() int { return len(e.encoded) - eventHeadroom }

// audience is whom an event goes to.
type audience struct {
	targeted bool
	to       []*Conn
	except   *Conn
}

// publish encodes an event into the writing turn.
func (b *body) publish(what string, event proto.Message, whom audience) {
	t := b.writing(what)
	union := b.inst.typ.events
	if union == nil {
		panic("actors: " + what + " on an actor without a subscription") //nolint:forbidigo // misuse by the author: it ends that action
	}
	message := event.ProtoReflect()
	field := message.WhichOneof(union.oneof)
	if field == nil {
		panic("actors: " + what + " of an event union that holds no event") //nolint:forbidigo // misuse by the author: it ends that action
	}
	info := union.message.Descriptor().Fields().ByNumber(union.info)
	if message.Has(info) {
		message.Clear(info)
	}
	if t.refused != nil || whom.targeted && len(whom.to) == 0 {
		return
	}
	limits := &b.inst.typ.limits
	if t.published++; int(t.published) > limits.turnEvents {
		t.refused = &refusalError{refusal(connect.CodeResourceExhausted, "too_many_events", notExecuted,
			"the turn publishes more than %d events", limits.turnEvents)}
		return
	}
	encoded, err := encodeEvent(event)
	if err != nil {
		panic(fmt.Sprintf("actors: %s of an event that does not encode: %v", what, err)) //nolint:forbidigo // misuse by the author: it ends that action
	}
	kind := union.kinds[field.Number()]
	pending := pendingEvent{
		encoded:  encoded,
		field:    field.Number(),
		slot:     kind.slot(message),
		numbered: !whom.targeted && kind.numbered(),
		targeted: whom.targeted,
		to:       whom.to,
		except:   whom.except,
	}
	if size := pending.size(); size > limits.eventBytes {
		t.refused = &refusalError{refusal(connect.CodeResourceExhausted, "event_too_large", notExecuted,
			"the event %s has %d bytes and may have %d", field.Name(), size, limits.eventBytes)}
		return
	}
	t.rowBytes += pending.size()
	t.events = append(t.events, pending)
}

// collectEvents numbers a turn's events and adds to its change what the log keeps
// of them and whom they go to.
func (i *instance) collectEvents(t *turn, b *body, c *change) error {
	if len(t.events) == 0 {
		return nil
	}
	info := infoWriter{union: i.typ.events, cursors: i.cursors, at: time.Now()}
	c.deliveries = make([]delivery, 0, len(t.events))
	i.mu.Lock()
	conns := i.conns
	i.mu.Unlock()
	for n := range t.events {
		event := &t.events[n]
		if event.numbered {
			c.eventHead++
		}
		d := delivery{to: conns, except: event.except, closing: event.closing}
		if event.targeted {
			d.to = event.to
		}
		if len(d.to) == 0 {
			continue
		}
		if event.closing == nil {
			d.frame = info.frame(event.encoded, c.eventHead)
			d.frame.field, d.frame.slot, d.frame.numbered = event.field, event.slot, event.numbered
		}
		c.deliveries = append(c.deliveries, d)
	}
	if c.eventHead == i.eventHead {
		return nil
	}
	c.dirty = true
	return b.logEvents(t, c, i.eventHead, info.at)
}
