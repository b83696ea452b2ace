// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/memory"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"google.golang.org/protobuf/proto"
)

// FuzzRequest sends whole requests: a body in either codec and all the metadata that
// a caller can write. Whatever it is, it is the caller's fault and not ours.
func FuzzRequest(f *testing.F) {
	one, err := proto.Marshal(&counterv1.IncrementRequest{Amount: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(one, false, "a/b", "", "", "", "", "", "")
	f.Add([]byte(`{"amount":"1","unknown":[{}]}`), true, "", "", "get-or-create", "CAE=", "CAE", "id.secret", "key")
	f.Add([]byte(strings.Repeat(`{"a":`, 200)), true, "~", "00000000000000000000000000", "get", "!", "", ".", "auto-1")
	f.Add([]byte("\x0b\x0b\x0c\x0c"), false, "%zz", "", "create", "AA==", "AA", "a.b.c", strings.Repeat("k", 256))
	s, err := New(Config{
		Registry: newRegistry(), Store: memory.New(memory.Options{}),
		Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			f.Error(err)
		}
	})
	f.Fuzz(func(t *testing.T, body []byte, json bool, key, id, resolve, input, params, conn, idempotency string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, counterv1connect.CounterIncrementProcedure, bytes.NewReader(body))
		r.Host = "127.0.0.1"
		r.Header.Set("Content-Type", "application/proto")
		if json {
			r.Header.Set("Content-Type", "application/json")
		}
		for name, value := range map[string]string{
			"Actor-Key": key, "Actor-Id": id, "Actor-Resolve": resolve, "Actor-Input-Bin": input,
			"Actor-Params-Bin": params, "Actor-Conn": conn, "Idempotency-Key": idempotency,
		} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		answer := httptest.NewRecorder()
		s.Handler().ServeHTTP(answer, r)
		if answer.Code == http.StatusInternalServerError || answer.Code == http.StatusServiceUnavailable {
			t.Errorf("status %d: %s", answer.Code, answer.Body)
		}
		if answer.Code != http.StatusOK && !strings.Contains(answer.Body.String(), `"code"`) {
			t.Errorf("status %d without a typed error: %s", answer.Code, answer.Body)
		}
	})
}

// FuzzCodecs decodes messages that recurse and that hold unknown fields, and compares
// what a second reading makes of the first one's result.
func FuzzCodecs(f *testing.F) {
	codecs := newCodecs(false)
	f.Add([]byte(`{"address":{"type":"a.v1.A","key":["a"]},"input":{"@type":"type.googleapis.com/counter.v1.CounterInput","initial":"1"}}`))
	f.Add([]byte(`{"address":null,"nothing":[[[[]]]]}`))
	f.Add([]byte("\x0a\x02\x12\x00\xf8\x07\x01"))
	f.Add(bytes.Repeat([]byte{0x13}, 200))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, codec := range []connect.Codec{codecs.json, codecs.binary} {
			message := new(troupev1.CreateRequest)
			if err := codec.UnmarshalRead(t.Context(), bytes.NewBuffer(bytes.Clone(data)), message); err != nil {
				continue
			}
			var encoded bytes.Buffer
			if err := codec.MarshalWrite(t.Context(), &encoded, message); err != nil {
				continue // an Any of a type that nobody knows has no JSON
			}
			again := new(troupev1.CreateRequest)
			if err := codec.UnmarshalRead(t.Context(), &encoded, again); err != nil {
				t.Errorf("%s: %q was read and written, and cannot be read again: %v", codec.Name(), data, err)
			} else if !proto.Equal(message, again) {
				t.Errorf("%s: %q became %v and then %v", codec.Name(), data, message, again)
			}
		}
	})
}

// FuzzMetadata reads the addressing metadata by itself.
func FuzzMetadata(f *testing.F) {
	f.Add("a/b", "", "", "default", "CAE=", "CAE", "conn", "resume", "key")
	f.Add("", "00000000000000000000000000", "get", "", "", "", "", "", "")
	list := newNamespaces([]string{"default", "*"})
	f.Fuzz(func(t *testing.T, key, id, resolve, namespace, input, params, conn, resume, idempotency string) {
		m := metadata{
			key: key, id: id, resolve: resolve, namespace: namespace, input: input, params: params, conn: conn,
			resume: resume, idempotency: idempotency, hasInput: true, hasParams: true,
		}
		call := &actors.Call{Method: &actors.Method{Type: "counter.v1.Counter"}}
		if err := m.fill(call, nil, list, false); err != nil {
			if connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("%+v: %v", m, err)
			}
			return
		}
		if len(call.Input) > 4096 || len(call.Params) > 4096 || len(call.Address.Key) > 1024*3 || len(call.Conn) > maxConnText {
			t.Errorf("%+v is beyond the limits: %+v", m, call)
		}
	})
}

func FuzzPageToken(f *testing.F) {
	f.Add(encodePageToken(store.Address{Namespace: "default", Type: "a.v1.A", Key: "k"}))
	f.Add(base64.RawURLEncoding.EncodeToString([]byte("1\x00\x00\x00\x00")))
	f.Add("!")
	f.Fuzz(func(t *testing.T, token string) {
		after, err := decodePageToken(token, store.ListQuery{Namespace: "default"})
		switch {
		case err != nil && connect.CodeOf(err) != connect.CodeInvalidArgument:
			t.Errorf("%q: %v", token, err)
		case err == nil && after != nil && after.Namespace != "default":
			t.Errorf("%q leads into the namespace %q", token, after.Namespace)
		}
	})
}

func FuzzConfigFile(f *testing.F) {
	f.Add([]byte(`{"listen": "127.0.0.1:8080", "namespaces": ["a", "b"], "max-calls": 3, "no-http-get": true}`))
	f.Add([]byte(`{"listen": null, "config": ""}`))
	f.Add([]byte(`[]`))
	path := filepath.Join(f.TempDir(), "config.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		// Certificates are files, which are not to be opened at random.
		s, err := parse([]string{"-config", path, "-tls-cert", "", "-tls-key", ""}, func(string) string { return "" }, io.Discard)
		if err == nil && s.logFormat != "text" && s.logFormat != "json" {
			t.Errorf("%q sets the log format %q", data, s.logFormat)
		}
	})
}

func FuzzTimeout(f *testing.F) {
	f.Add("1000", "1S")
	f.Add("9223372036854775807", "99999999H")
	f.Fuzz(func(t *testing.T, ms, grpc string) {
		header := http.Header{"Connect-Timeout-Ms": {ms}, "Grpc-Timeout": {grpc}}
		capTimeout(header, DefaultLimits().ActionTimeout)
		if asked, ok := grpcTimeout(header.Get("Grpc-Timeout")); ok && asked > DefaultLimits().ActionTimeout {
			t.Errorf("%q became %q", grpc, header.Get("Grpc-Timeout"))
		}
	})
}
