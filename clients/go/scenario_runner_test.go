// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	troupe "github.com/troupe-dev/troupe/clients/go"
	stagev1 "github.com/troupe-dev/troupe/gen/go/stage/v1"
	"github.com/troupe-dev/troupe/gen/go/stage/v1/stagev1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
)

// pendingCall is a call that a step has left behind.
type pendingCall struct {
	cancel context.CancelFunc
	done   chan struct{}
	reply  any
	err    error
}

// performance is one scenario under way. Its steps run on one goroutine.
type performance struct {
	run                    *stageRun
	client, direct, getter *troupe.Client
	handles                map[string]*stageHandle
	connections            map[string]*recording
	calls                  map[string]*pendingCall
	saved                  map[string]string
}

func (p *performance) end() {
	for _, c := range p.connections {
		c.dispose()
	}
	for _, call := range p.calls {
		call.cancel()
		<-call.done
	}
	for _, client := range []*troupe.Client{p.client, p.direct, p.getter} {
		client.Close()
	}
}

func (p *performance) text(text string) string {
	if name, ok := strings.CutPrefix(text, "$"); ok {
		return p.saved[name]
	}
	return text
}

// perform does one step.
func (p *performance) perform(ctx, base context.Context, s *step) error { //nolint:cyclop // one case for each step
	switch s.Do {
	case "handle":
		return p.handle(ctx, s)
	case "create":
		return p.create(ctx, s)
	case "resolve":
		return p.resolve(ctx, s)
	case "destroy":
		h := p.handles[s.Handle]
		_, err := h.client.Actors().Destroy(ctx, &troupev1.DestroyRequest{Address: h.wire()})
		return err
	case "call":
		return p.call(ctx, base, s)
	case "await":
		call := p.calls[s.Call]
		select {
		case <-call.done:
			return verdict(s, call.reply, call.err)
		case <-ctx.Done():
			return errors.New("the call has not ended")
		}
	case "cancel":
		p.calls[s.Call].cancel()
		return nil
	case "stream":
		return p.stream(ctx, s)
	case "connect":
		return p.connect(base, s)
	case "expect":
		return p.connections[s.Connection].expect(ctx, s.Entries)
	case "status":
		return until(ctx, func() error { return match(s.Is, p.connections[s.Connection].status(), "the status") })
	case "dispose":
		p.connections[s.Connection].dispose()
		return nil
	case "network", "server":
		return p.run.act(ctx, fmt.Sprintf("%s?ms=%d", s.Act, s.Ms))
	case "fetch":
		return p.fetch(ctx, s)
	case "socket":
		return p.socket(ctx, s)
	}
	return fmt.Errorf("there is no step %q", s.Do)
}

// verdict checks what a call came to.
func verdict(s *step, reply any, err error) error {
	switch {
	case s.Error == nil && err != nil:
		return err
	case s.Error != nil && err == nil:
		return fmt.Errorf("it did not fail but gave %v", reply)
	case s.Error != nil:
		if why := match(s.Error, errorJSON(err), "the error"); why != nil {
			return fmt.Errorf("%w: %w", why, err)
		}
	case s.Reply != nil:
		return match(s.Reply, reply, "the reply")
	}
	return nil
}

func (p *performance) call(ctx, base context.Context, s *step) error {
	switch {
	case s.Later != "":
		background, cancel := context.WithCancel(base)
		call := &pendingCall{cancel: cancel, done: make(chan struct{})}
		p.calls[s.Later] = call
		go func() {
			defer close(call.done)
			call.reply, call.err = p.callOnce(background, s)
		}()
		return nil
	case s.Eventually:
		return until(ctx, func() error {
			reply, err := p.callOnce(ctx, s)
			return errors.Join(err, match(s.Reply, reply, "the reply"))
		})
	}
	reply, err := p.callOnce(ctx, s)
	return verdict(s, reply, err)
}

func (p *performance) callOnce(ctx context.Context, s *step) (any, error) {
	if s.TimeoutMs > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(s.TimeoutMs)*time.Millisecond)
		defer cancel()
	}
	ctx, info := connect.NewClientContext(ctx)
	if s.IdempotencyKey != "" {
		info.RequestHeader().Set("idempotency-key", s.IdempotencyKey)
	}
	results, err := p.invoke(ctx, s)
	if err != nil {
		return nil, err
	}
	if err, failed := reflect.TypeAssert[error](results[1]); failed && err != nil {
		return nil, err
	}
	headers := info.ResponseHeader()
	if created := headers.Get("actor-created") == "true"; s.Created != nil && created != *s.Created {
		return nil, fmt.Errorf("created is %t", created)
	}
	if s.SaveID != "" {
		p.saved[s.SaveID] = headers.Get("actor-id")
	}
	if s.SaveCursor != "" {
		p.saved[s.SaveCursor] = headers.Get("actor-cursor")
	}
	reply, _ := reflect.TypeAssert[proto.Message](results[0])
	return asJSON(reply), nil
}

// invoke calls a method of the generated client by its name.
func (p *performance) invoke(ctx context.Context, s *step) ([]reflect.Value, error) {
	var client stagev1connect.StageClient
	switch h := p.handles[s.On]; {
	case h == nil:
		client = p.connections[s.On].conn.Actor()
	case s.Get:
		client = h.getter
	default:
		client = h.stage
	}
	method := reflect.ValueOf(client).MethodByName(s.Method)
	if !method.IsValid() {
		return nil, fmt.Errorf("there is no method %s", s.Method)
	}
	request := reflect.New(method.Type().In(1).Elem())
	message, _ := reflect.TypeAssert[proto.Message](request)
	if err := fromJSON(s.Request, message); err != nil {
		return nil, err
	}
	return method.Call([]reflect.Value{reflect.ValueOf(ctx), request}), nil
}

func (p *performance) stream(ctx context.Context, s *step) error {
	results, err := p.invoke(ctx, s)
	if err != nil {
		return err
	}
	stream, _ := reflect.TypeAssert[stagev1connect.StageCountClientStream](results[0])
	err, _ = reflect.TypeAssert[error](results[1])
	var got []any
	if err == nil {
		defer func() { _ = stream.Close() }()
	}
	for err == nil && (!s.Leave || len(got) < len(s.Messages)) {
		var message *stagev1.CountResponse
		if message, err = stream.Receive(); err == nil {
			got = append(got, asJSON(message))
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(verdict(s, nil, err), match(s.Messages, got, "the messages"))
}

func (p *performance) connect(base context.Context, s *step) error {
	params, err := watchRequests(s.Params)
	if err != nil {
		return err
	}
	var opts []troupe.EventOption
	if len(s.Events) > 0 {
		opts = append(opts, troupe.WithEvents(s.Events...))
	}
	if s.Cursor != "" {
		opts = append(opts, troupe.WithCursor(p.text(s.Cursor)))
	}
	p.connections[s.As] = record(base, p.handles[s.Handle].bound, params, opts...)
	return nil
}

// watchRequests reads parameters: one object, or a list of them.
func watchRequests(raw json.RawMessage) ([]*stagev1.WatchRequest, error) {
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	if raw[0] == '{' {
		raw = bytes.Join([][]byte{[]byte("["), raw, []byte("]")}, nil)
	}
	var objects []map[string]any
	if err := json.Unmarshal(raw, &objects); err != nil {
		return nil, err
	}
	requests := make([]*stagev1.WatchRequest, len(objects))
	for i, object := range objects {
		requests[i] = new(stagev1.WatchRequest)
		if err := fromJSON(object, requests[i]); err != nil {
			return nil, err
		}
	}
	return requests, nil
}

// post sends a request to the control.
func post(ctx context.Context, url string, body any) ([]byte, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s: %s", response.Status, answer)
	}
	return answer, err
}

// until repeats check until it passes.
func until(ctx context.Context, check func() error) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
		}
	}
}
