// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	chatv1 "github.com/troupe-dev/troupe/gen/go/chat/v1"
	"github.com/troupe-dev/troupe/gen/go/chat/v1/chatv1connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// keptMessages and keptBytes bound what a room remembers.
const (
	keptMessages = 1000
	keptBytes    = 512 << 10
)

// post adds a message and tells everybody.
func (r *ChatRoom) post(author, text string) *chatv1.Message {
	state := r.State()
	state.Posted++
	message := &chatv1.Message{
		Id:     strconv.FormatInt(state.GetPosted(), 10),
		Author: author,
		Text:   text,
		SentAt: timestamppb.Now(),
	}
	state.Messages = append(state.Messages, message)
	for len(state.GetMessages()) > keptMessages || proto.Size(state) > keptBytes {
		state.Messages = state.GetMessages()[1:]
	}
	r.Broadcast(&chatv1.ChatRoomEvent{Event: &chatv1.ChatRoomEvent_MessagePosted{
		MessagePosted: &chatv1.MessagePosted{Message: message},
	}})
	return message
}

// longestReminder bounds how far ahead a reminder may be.
const longestReminder = 30 * 24 * time.Hour

// remind makes a schedule of a message that says "/remind 10s TEXT". It is part of
// the turn that posts the message: there are both of them, or neither.
func (r *ChatRoom) remind(author, text string) error {
	command, ok := strings.CutPrefix(text, "/remind ")
	if !ok {
		return nil
	}
	when, what, _ := strings.Cut(strings.TrimSpace(command), " ")
	what = strings.TrimSpace(what)
	after, err := reminderTime(when)
	if err != nil || what == "" || after <= 0 || after > longestReminder {
		return actors.Errorf(connect.CodeInvalidArgument, "bad_reminder", "write /remind, a time such as 10s, 5m or 2h, and what to remind of")
	}
	_, err = r.Schedule().After(after, chatv1connect.ChatRoomRemindProcedure, &chatv1.RemindRequest{Author: author, Text: what})
	return err
}

// reminderTime reads a duration; a plain number is seconds.
func reminderTime(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	return time.ParseDuration(text)
}

// Remind posts a reminder in its author's name. Only schedules call it.
func (r *ChatRoom) Remind(_ context.Context, req *chatv1.RemindRequest) (*chatv1.RemindResponse, error) {
	r.post(req.GetAuthor(), "Reminder: "+req.GetText())
	return &chatv1.RemindResponse{}, nil
}
