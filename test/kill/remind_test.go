// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package kill_test

import (
	"context"
	"encoding/base64"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	"github.com/troupe-dev/troupe/test/program"
	"google.golang.org/protobuf/proto"
)

// reminders are what the callers of one round know.
type reminders struct {
	mu         sync.Mutex
	sent       int
	answered   map[string]bool // by their texts: whether the server has acknowledged them
	roomNumber int
}

// TestP27_RemindersSurviveKill9 kills a chat server while reminders are made and fall
// due. In the end each that was acknowledged has been posted once, and each that was
// not answered at most once.
func TestP27_RemindersSurviveKill9(t *testing.T) {
	t.Parallel()
	server := program.Build(t, "github.com/troupe-dev/troupe/examples/chat")
	data := t.TempDir()
	var past []*reminders
	for round := range (rounds(t) + 1) / 2 {
		s := program.Start(t, server, data)
		if round > 0 {
			past[round-1].check(t, s)
		}
		r := &reminders{answered: make(map[string]bool), roomNumber: round}
		past = append(past, r)
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for range 8 {
			load.Go(func() { r.make(ctx, room(s, round)) })
		}
		select { // the load is the test; how long it lasts decides nothing
		case <-time.After(time.Duration(50+rand.IntN(200)) * time.Millisecond):
		case <-s.Exited:
			t.Error("the server ended by itself")
		}
		s.Kill()
		load.Wait()
		cancel()
	}
	s := program.Start(t, server, data)
	made := 0
	for _, r := range past {
		r.check(t, s)
		made += len(r.answered)
	}
	s.Kill()
	if made == 0 {
		t.Error("no reminder was made in all the rounds: the load did not reach the server")
	}
	t.Logf("%d reminders in %d rounds", made, len(past))
}

// make makes reminders, as many as a room remembers, until the server is gone.
func (r *reminders) make(ctx context.Context, client chatv1connect.ChatRoomClient) {
	for {
		r.mu.Lock()
		r.sent++
		n := r.sent
		text := strconv.Itoa(n)
		if n <= 400 {
			r.answered[text] = false
		}
		r.mu.Unlock()
		if n > 400 {
			return
		}
		if _, err := client.Send(ctx, &chatv1.SendRequest{Text: "/remind 0 " + text}); err != nil {
			return
		}
		r.mu.Lock()
		r.answered[text] = true
		r.mu.Unlock()
	}
}

// check waits until every acknowledged reminder is there, and finds none twice.
func (r *reminders) check(t *testing.T, s *program.Process) {
	t.Helper()
	client := room(s, r.roomNumber)
	deadline := time.Now().Add(30 * time.Second)
	for {
		reply, err := client.History(t.Context(), &chatv1.HistoryRequest{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		posted := make(map[string]int)
		for _, message := range reply.GetMessages() {
			if text, ok := strings.CutPrefix(message.GetText(), "Reminder: "); ok {
				if posted[text]++; posted[text] > 1 {
					t.Fatalf("room %d: the reminder %s was posted twice", r.roomNumber, text)
				}
			}
		}
		missing := ""
		for text, acknowledged := range r.answered {
			if acknowledged && posted[text] == 0 {
				missing = text
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("room %d: the reminder %s was acknowledged and has not come", r.roomNumber, missing)
		}
		select {
		case <-time.After(20 * time.Millisecond): // the next look decides
		case <-t.Context().Done():
			t.Fatal("the test ends")
		}
	}
}

// room is the stock client of one chat room, in the name of a user.
func room(s *program.Process, number int) chatv1connect.ChatRoomClient {
	params, _ := proto.Marshal(&chatv1.SubscribeRequest{User: "kill"}) // a short message always does
	named := func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("actor-key", "kill/"+strconv.Itoa(number))
				info.RequestHeader().Set("actor-params-bin", base64.StdEncoding.EncodeToString(params))
			}
			return next(ctx, spec)
		}
	}
	return chatv1connect.NewChatRoomClient(connect.NewClient(connecthttp.NewTransport(s.Client, s.URL), named))
}
