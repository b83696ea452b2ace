// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/coder/websocket"
	"github.com/troupe-dev/troupe/gen/go/stage/v1/stagev1connect"
)

func (p *performance) fetch(ctx context.Context, s *step) error {
	url, err := p.handles[s.Handle].url(s.Path)
	if err != nil {
		return err
	}
	method := s.Method
	if method == "" {
		method = http.MethodGet
	}
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(s.Body))
	if err != nil {
		return err
	}
	for name, value := range s.Headers {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != s.Status {
		return fmt.Errorf("the status is %d, want %d", response.StatusCode, s.Status)
	}
	if s.JSON == nil {
		return nil
	}
	var got any
	if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
		return err
	}
	return match(s.JSON, got, "the answer")
}

func (h *stageHandle) url(path string) (string, error) {
	return h.client.URL(stagev1connect.StageName, h.address, path)
}

func (p *performance) socket(ctx context.Context, s *step) error {
	url, err := p.handles[s.Handle].url(s.Path)
	if err != nil {
		return err
	}
	socket, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	defer func() { _ = socket.CloseNow() }()
	for _, text := range s.Send {
		if err := socket.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			return err
		}
	}
	var got []any
	for {
		_, text, err := socket.Read(ctx)
		if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
			return match(s.Receive, got, "what came")
		}
		if err != nil {
			return err
		}
		got = append(got, string(text))
	}
}
