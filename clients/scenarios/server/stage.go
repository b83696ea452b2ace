// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/coder/websocket"
	"github.com/troupe-dev/troupe/actors"
	stagev1 "github.com/troupe-dev/troupe/gen/go/stage/v1"
	"github.com/troupe-dev/troupe/gen/go/stage/v1/stagev1connect"
)

// Stage implements stage.v1.Stage: it does what a scenario tells it.
type Stage struct {
	stagev1connect.UnimplementedStageHandler
	actors.Actor[*stagev1.StageState, *stagev1.StageEvent]
}

// newRegistry returns the actors of one run.
func newRegistry() *actors.Registry {
	registry := actors.NewRegistry()
	actors.Register(registry, stagev1connect.RegisterStageHandler, func() *Stage { return new(Stage) },
		actors.OnCreate((*Stage).onCreate),
		actors.BeforeConnect(beforeConnect),
		actors.CreateConnState((*Stage).createConnState),
		actors.OnConnect((*Stage).onConnect))
	return registry
}

func (s *Stage) onCreate(_ context.Context, input *stagev1.StageInput) error {
	s.State().Total = input.GetTotal()
	return nil
}

func beforeConnect(_ context.Context, _ actors.Attempt, params *stagev1.WatchRequest) error {
	switch params.GetToken() {
	case "refused":
		return actors.Errorf(connect.CodePermissionDenied, "token_refused", "this token may not enter")
	case "busy":
		return actors.Errorf(connect.CodeUnavailable, "stage_busy", "nobody may enter now")
	}
	return nil
}

func (s *Stage) createConnState(_ context.Context, params *stagev1.WatchRequest) (*stagev1.StageMember, error) {
	return &stagev1.StageMember{User: params.GetUser(), Token: params.GetToken()}, nil
}

func (s *Stage) onConnect(_ context.Context, conn *actors.Conn) error {
	params, _ := conn.Params().(*stagev1.WatchRequest)
	if params.GetGreet() {
		s.SendTo(conn, &stagev1.StageEvent{Event: &stagev1.StageEvent_Welcomed{
			Welcomed: &stagev1.Welcome{User: params.GetUser(), Total: s.State().GetTotal()},
		}})
	}
	return nil
}

// Add adds to the total.
func (s *Stage) Add(_ context.Context, req *stagev1.AddRequest) (*stagev1.AddResponse, error) {
	s.State().Total += req.GetAmount()
	return &stagev1.AddResponse{Total: s.State().GetTotal()}, nil
}

// Set sets the total.
func (s *Stage) Set(_ context.Context, req *stagev1.SetRequest) (*stagev1.SetResponse, error) {
	s.State().Total = req.GetTotal()
	return &stagev1.SetResponse{Total: s.State().GetTotal()}, nil
}

// Look reads the total, and says who asks.
func (s *Stage) Look(ctx context.Context, _ *stagev1.LookRequest) (*stagev1.LookResponse, error) {
	member := actors.ConnState[*stagev1.StageMember](ctx)
	return &stagev1.LookResponse{
		Total:       s.State().GetTotal(),
		User:        member.GetUser(),
		Token:       member.GetToken(),
		Connected:   actors.ConnOf(ctx) != nil,
		Connections: int32(len(s.Conns())),
		Key:         s.Key(),
	}, nil
}

// Publish publishes the batches in their order.
func (s *Stage) Publish(_ context.Context, req *stagev1.PublishRequest) (*stagev1.PublishResponse, error) {
	for _, batch := range req.GetBatches() {
		filler := strings.Repeat("x", int(batch.GetBytes()))
		for i := range max(1, batch.GetCount()) {
			s.Broadcast(eventOf(batch, batch.GetFrom()+i, filler))
		}
	}
	return new(stagev1.PublishResponse), nil
}

func eventOf(batch *stagev1.Batch, n int32, filler string) *stagev1.StageEvent {
	mark := &stagev1.Mark{N: n, Filler: filler}
	switch batch.GetEvent() {
	case "rung":
		return &stagev1.StageEvent{Event: &stagev1.StageEvent_Rung{Rung: mark}}
	case "moved":
		return &stagev1.StageEvent{Event: &stagev1.StageEvent_Moved{
			Moved: &stagev1.Place{N: n, Who: batch.GetWho(), Filler: filler},
		}}
	case "flashed":
		return &stagev1.StageEvent{Event: &stagev1.StageEvent_Flashed{Flashed: mark}}
	}
	return &stagev1.StageEvent{Event: &stagev1.StageEvent_Noted{Noted: mark}}
}

// Fail changes the total and fails: nothing of the change is left.
func (s *Stage) Fail(_ context.Context, req *stagev1.FailRequest) (*stagev1.FailResponse, error) {
	s.State().Total += req.GetAmount()
	if req.GetCode() == "" {
		panic("asked to panic") //nolint:forbidigo // what this action is for
	}
	var code connect.Code
	if err := code.UnmarshalText([]byte(req.GetCode())); err != nil {
		return nil, actors.Errorf(connect.CodeInvalidArgument, "no_such_code", "there is no code %q", req.GetCode())
	}
	failure := actors.Errorf(code, req.GetReason(), "%s", req.GetMessage())
	for key, value := range req.GetMetadata() {
		failure = failure.With(key, value)
	}
	return nil, failure
}

// Wait waits in its turn, so that others wait for it.
func (s *Stage) Wait(ctx context.Context, req *stagev1.WaitRequest) (*stagev1.WaitResponse, error) {
	timer := time.NewTimer(time.Duration(req.GetMilliseconds()) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return new(stagev1.WaitResponse), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Dismiss ends the connection of its caller.
func (s *Stage) Dismiss(ctx context.Context, req *stagev1.DismissRequest) (*stagev1.DismissResponse, error) {
	conn := actors.ConnOf(ctx)
	if conn == nil {
		return nil, actors.Errorf(connect.CodeFailedPrecondition, "no_connection", "only a connection can be dismissed")
	}
	conn.Disconnect(req.GetCode(), req.GetMessage())
	return new(stagev1.DismissResponse), nil
}

// Leave destroys the actor.
func (s *Stage) Leave(context.Context, *stagev1.LeaveRequest) (*stagev1.LeaveResponse, error) {
	s.Destroy()
	return new(stagev1.LeaveResponse), nil
}

// Whisper is internal: no client reaches it.
func (s *Stage) Whisper(context.Context, *stagev1.WhisperRequest) (*stagev1.WhisperResponse, error) {
	return new(stagev1.WhisperResponse), nil
}

// Count counts beside the actor until it is through or its caller leaves. The total
// is how many calls of it have ended.
func (s *Stage) Count(ctx context.Context, req *stagev1.CountRequest, stream stagev1connect.StageCountServerStream) error {
	defer func() {
		s.Go(func(ctx context.Context) {
			_ = s.Turn(ctx, func(context.Context) error { s.State().Total++; return nil }) // the server stops
		})
	}()
	for i := int32(0); req.GetCount() == 0 || i < req.GetCount(); i++ {
		if err := stream.Send(&stagev1.CountResponse{N: req.GetFrom() + i}); err != nil {
			return err //nolint:wrapcheck // the caller is gone
		}
		if req.GetCount() != 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	if req.GetFail() != "" {
		return actors.Errorf(connect.CodeFailedPrecondition, req.GetFail(), "asked to fail")
	}
	return nil
}

// ServeHTTP echoes: requests by their body, sockets by their messages.
func (s *Stage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/socket" {
		s.serveSocket(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/teapot" {
		w.WriteHeader(http.StatusTeapot)
	}
	answer(w, map[string]any{
		"method": r.Method,
		"path":   r.URL.Path,
		"asked":  r.URL.Query().Get("asked"),
		"said":   r.Header.Get("X-Say"),
		"body":   string(body),
		"user":   actors.ConnState[*stagev1.StageMember](r.Context()).GetUser(),
		"key":    s.Key(),
	})
}

func (s *Stage) serveSocket(w http.ResponseWriter, r *http.Request) {
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // the server has checked the origin
	if err != nil {
		return
	}
	defer func() { _ = socket.CloseNow() }() // at the end it is closed already
	for {
		kind, data, err := socket.Read(r.Context())
		if err != nil || string(data) == "bye" {
			_ = socket.Close(websocket.StatusNormalClosure, "bye") // the peer may be gone
			return
		}
		if err := socket.Write(r.Context(), kind, append([]byte("echo "), data...)); err != nil {
			return
		}
	}
}
