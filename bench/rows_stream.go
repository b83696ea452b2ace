// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/troupe-dev/troupe/bench/load"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	"google.golang.org/protobuf/proto"
)

const (
	// ahead is how many events the slowest subscriber may be behind when the
	// next burst is published. With the bursts that are then under way it
	// stays below the 256 events that a subscriber's buffer holds.
	ahead = 64
	// publishers is how many calls publish at once.
	publishers = 2
	// pace is how many single events a second the paced row publishes.
	pace = 20
)

// roomRequest is a call of one room.
func roomRequest(procedure, key string, message proto.Message) *load.Request {
	body, _ := proto.Marshal(message)
	return &load.Request{
		Procedure: procedure,
		Key:       []string{"bench", key},
		Stream:    procedure == chatv1connect.ChatRoomSubscribeProcedure,
		Body:      body,
	}
}

func subscribeRequest(key string) *load.Request {
	return roomRequest(chatv1connect.ChatRoomSubscribeProcedure, key, &chatv1.SubscribeRequest{User: user})
}

// fanOut compares the delivery of one actor's events with bare streams.
func fanOut(b *bed) ([]*row, error) {
	bare, err := b.start("bare")
	if err != nil {
		return nil, err
	}
	ours, err := b.startTroupe()
	if err != nil {
		return nil, err
	}
	if err := checkFiles(b.streams); err != nil {
		return nil, err
	}
	var rows []*row
	for _, n := range []int{1, 100, 1000} {
		if n > b.streams {
			break
		}
		r := &row{
			Name: "fan-out to " + amount(n, "subscriber"), Limit: "bare", Unit: "/s", Score: ratio,
			Goals: []goal{atLeast(ofScore, 0.80)},
		}
		if n > 1 {
			r.Goals = append(r.Goals, atLeast(ofOurs, 1e6))
		}
		if err := b.deliver(r, bare, ours, n, (*fan).bursts); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	all := amount(b.streams, "subscriber")
	durable := &row{Name: "fan-out of durable events to " + all, Limit: "bare", Unit: "/s", Score: ratio}
	if err := b.deliver(durable, bare, ours, b.streams, (*fan).durableBursts); err != nil {
		return nil, err
	}
	paced := &row{Name: fmt.Sprintf("fan-out to %s, %d events/s: server CPU", all, pace), Limit: "bare", Unit: "µs", Score: inverse}
	if err := b.deliver(paced, bare, ours, b.streams, (*fan).paced); err != nil {
		return nil, err
	}
	return append(rows, durable, paced), nil
}

// checkFiles makes sure that this process and its children may have n streams.
func checkFiles(n int) error {
	if limit := fileLimit(); limit < uint64(n)+100 {
		return fmt.Errorf("%d open files are too few for %d streams: raise ulimit -n", limit, n)
	}
	return nil
}

// deliver measures the deliveries to n subscribers: their rate, as fast as they
// come, or their cost, paced.
func (b *bed) deliver(r *row, bare, ours *side, n int, run func(*fan, time.Duration) (load.Result, error)) error {
	fromOurs, err := openFan(ours, "fan", n)
	if err != nil {
		return err
	}
	defer fromOurs.close()
	// The bare server's events get the size of ours.
	if _, err := ours.measure(func() (load.Result, error) { return run(fromOurs, max(b.duration/4, time.Second/pace)) }); err != nil {
		return err
	}
	size := fromOurs.swarm.Bytes() / max(fromOurs.swarm.Events(), 1)
	if _, err := bare.perform(command{Do: "frame", N: int(size)}); err != nil {
		return err
	}
	fromBare, err := openFan(bare, "fan", n)
	if err != nil {
		return err
	}
	defer fromBare.close()
	var limit, own figures
	return b.interleave(
		func(int) {
			if r.Score == inverse {
				r.add(limit.cpu, own.cpu)
			} else {
				r.add(limit.rate, own.rate)
			}
			r.note("event bytes", float64(size))
			r.note("bare CPU µs/delivery", limit.cpu)
			r.note("ours CPU µs/delivery", own.cpu)
			r.note("client CPU µs/delivery", own.client)
		},
		func() (err error) {
			limit, err = bare.measure(func() (load.Result, error) { return run(fromBare, b.duration) })
			return err
		},
		func() (err error) {
			own, err = ours.measure(func() (load.Result, error) { return run(fromOurs, b.duration) })
			return err
		},
	)
}

// fan is the subscribers of one actor, and who makes it publish.
type fan struct {
	swarm      *load.Swarm
	publishers [publishers]*load.Conn
	// many, one and durable are the calls that publish a burst, a single
	// event and a burst of durable events.
	many, one, durable []byte

	mu        sync.Mutex
	published int64 // guarded by mu
}

// openFan subscribes to an actor n times.
func openFan(s *side, key string, n int) (*fan, error) {
	s.resume()
	defer s.pause()
	swarm, err := load.Subscribe(s.addr, subscribeRequest(key).Append(nil), n)
	if err != nil {
		return nil, err
	}
	f := &fan{
		swarm:   swarm,
		many:    roomRequest(chatv1connect.ChatRoomSetTypingProcedure, key, &chatv1.SetTypingRequest{Typing: true}).Append(nil),
		one:     roomRequest(chatv1connect.ChatRoomSetTypingProcedure, key, &chatv1.SetTypingRequest{}).Append(nil),
		durable: roomRequest(chatv1connect.ChatRoomSendProcedure, key, &chatv1.SendRequest{Text: user}).Append(nil),
	}
	for i := range f.publishers {
		if f.publishers[i], err = load.Dial(s.addr); err == nil {
			f.published++
			err = publish(f.publishers[i], f.one)
		}
		if err != nil {
			f.close()
			return nil, err
		}
	}
	return f, nil
}

func (f *fan) close() {
	f.swarm.Close()
	for _, c := range f.publishers {
		if c != nil {
			_ = c.Close()
		}
	}
}

// bursts publishes bursts for a while. The calls of its result are deliveries.
func (f *fan) bursts(duration time.Duration) (load.Result, error) { return f.run(duration, f.many) }

// durableBursts does the same with durable events.
func (f *fan) durableBursts(duration time.Duration) (load.Result, error) {
	return f.run(duration, f.durable)
}

// run makes calls that publish bursts, never further ahead than the slowest
// subscriber's buffer allows, and waits until every event has arrived.
func (f *fan) run(duration time.Duration, request []byte) (load.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), duration+10*time.Second)
	defer cancel()
	before, began := f.swarm.Events(), time.Now()
	var (
		wait sync.WaitGroup
		errs [publishers]error
	)
	for i, c := range f.publishers {
		wait.Go(func() {
			for errs[i] == nil && time.Since(began) < duration {
				errs[i] = f.publish(ctx, c, request)
			}
		})
	}
	wait.Wait()
	return f.arrived(ctx, before, began, errors.Join(errs[:]...))
}

// arrived waits until everything that was published has arrived everywhere.
func (f *fan) arrived(ctx context.Context, before int64, began time.Time, err error) (load.Result, error) {
	if err == nil {
		err = f.swarm.WaitSlowest(ctx, f.published)
	}
	return load.Result{
		Calls:   f.swarm.Events() - before,
		Elapsed: time.Since(began),
		Latency: &load.Histogram{},
	}, err
}

// paced publishes single events on a timetable.
func (f *fan) paced(duration time.Duration) (load.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), duration+10*time.Second)
	defer cancel()
	before, began := f.swarm.Events(), time.Now()
	for n := 0; ; n++ {
		due := time.Duration(n) * time.Second / pace
		if due >= duration {
			return f.arrived(ctx, before, began, nil)
		}
		time.Sleep(due - time.Since(began))
		f.published++
		if err := publish(f.publishers[0], f.one); err != nil {
			return load.Result{}, err
		}
	}
}

// publish makes one burst once the subscribers have caught up.
func (f *fan) publish(ctx context.Context, c *load.Conn, request []byte) error {
	f.mu.Lock()
	err := f.swarm.WaitSlowest(ctx, f.published-ahead)
	f.published += burst
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return publish(c, request)
}

func publish(c *load.Conn, request []byte) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	status, body, err := c.RoundTrip(request)
	if err == nil && status != 200 {
		err = fmt.Errorf("publish: status %d: %.300s", status, body)
	}
	return err
}
