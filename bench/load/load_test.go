// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	t.Parallel()
	var h Histogram
	var all []time.Duration
	for range 100_000 {
		d := time.Duration(rand.ExpFloat64() * 1e6)
		all = append(all, d)
		h.Record(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.1, 0.5, 0.9, 0.99, 0.999} {
		want := all[int(q*float64(len(all)))]
		if got := h.Quantile(q); got < want-want/100-1 || got > want+want/100+1 {
			t.Errorf("quantile %g is %v, want %v within 1%%", q, got, want)
		}
	}
	if h.Quantile(1) != all[len(all)-1] || h.Max() != all[len(all)-1] || h.Count() != 100_000 {
		t.Errorf("maximum %v, %v, count %d", h.Quantile(1), h.Max(), h.Count())
	}
	var merged Histogram
	merged.Record(2 * time.Hour)
	merged.Record(-time.Second)
	merged.Merge(&h)
	if merged.Max() != 2*time.Hour || merged.Count() != 100_002 {
		t.Errorf("merged: maximum %v, count %d", merged.Max(), merged.Count())
	}
}

func TestBucketsCoverTheRange(t *testing.T) {
	t.Parallel()
	last := -1
	for v := uint64(0); v < 1<<44; v += 1 + v/300 {
		index := bucket(v)
		if index < last || index > last+1 && v > 256 {
			t.Fatalf("%d goes to bucket %d after %d", v, index, last)
		}
		last = index
		if m := middle(index); v < 1<<41 && (uint64(m) < v-v/120 || uint64(m) > v+v/120) {
			t.Fatalf("%d goes to a bucket whose middle is %d", v, m)
		}
	}
}

func TestParserFindsEventsHoweverReadsCut(t *testing.T) {
	t.Parallel()
	info := []byte{1<<3 | 2, 3, 1, 2, 3}
	event := append(slices.Clone(info), 2<<3|2, 2, 8, 5)
	var body []byte
	for range 50 {
		body = AppendEnvelope(body, info)
		body = AppendEnvelope(body, event)
		body = AppendEnvelope(body, nil)
	}
	for round := range 200 {
		random := rand.New(rand.NewPCG(1, uint64(round)))
		var wire []byte
		for rest := body; len(rest) > 0; {
			n := min(1+random.IntN(40), len(rest))
			wire = append(wire, strconv.FormatInt(int64(n), 16)+"\r\n"...)
			wire = append(append(wire, rest[:n]...), "\r\n"...)
			rest = rest[n:]
		}
		wire = append(wire, "0\r\n\r\n"...)
		var p parser
		events, payload := 0, 0
		for rest := wire; ; {
			n := min(1+random.IntN(30), len(rest))
			e, b, err := p.feed(rest[:n])
			events, payload, rest = events+e, payload+b, rest[n:]
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(rest) == 0 {
				t.Fatalf("round %d: %v, %d bytes left", round, err, len(rest))
			}
		}
		if events != 50 || payload != 50*len(event) {
			t.Fatalf("round %d: %d events of %d bytes", round, events, payload)
		}
	}
	var p parser
	end := []byte{flagEnd, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(end[1:], 2)
	if _, _, err := p.feed(append([]byte("7\r\n"), append(end, "{}\r\n"...)...)); err == nil || !strings.Contains(err.Error(), "{}") {
		t.Errorf("an end of stream gives %v", err)
	}
}

// serve starts a server for HTTP/1.1 and h2c.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch r.Header.Get("Actor-Key") {
	case "bad":
		w.WriteHeader(http.StatusTeapot)
	case "long/%20%2F":
		w.(http.Flusher).Flush()
	}
	_, _ = w.Write(body)
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	conn, err := Dial(serve(t, echo))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for _, test := range []struct {
		key    []string
		body   string
		status int
	}{
		{nil, "hello", 200},
		{[]string{"bad"}, "x", 418},
		{[]string{"long", " /"}, strings.Repeat("y", 30_000), 200}, // chunked
		{[]string{""}, "", 200},
	} {
		request := Request{Procedure: "/echo", Key: test.key, Body: []byte(test.body)}
		status, body, err := conn.RoundTrip(request.Append(nil))
		if err != nil || status != test.status || string(body) != test.body {
			t.Errorf("key %q: status %d, %d bytes, %v", test.key, status, len(body), err)
		}
	}
}

func TestRuns(t *testing.T) {
	t.Parallel()
	addr := serve(t, echo)
	request := Request{Procedure: "/echo", Body: []byte("hi")}
	bad := Request{Procedure: "/echo", Key: []string{"bad"}}
	wire, badWire := request.Append(nil), bad.Append(nil)
	pool, err := NewPool(addr, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Close() }()

	r := pool.Run(Plan{Duration: 10 * time.Second, Calls: 100, Next: func(n int64, dst []byte) []byte {
		if n%10 == 0 {
			return badWire
		}
		return append(dst, wire...)
	}})
	if r.Calls != 90 || r.Errors != 10 || r.Err == nil {
		t.Errorf("a run of 100: %d calls, %d errors, %v", r.Calls, r.Errors, r.Err)
	}
	r = pool.Run(Plan{Duration: 100 * time.Millisecond, Rate: 200, Next: func(int64, []byte) []byte { return wire }})
	if r.Calls != 20 || r.Errors != 0 {
		t.Errorf("an open loop: %d calls, %d errors, %v", r.Calls, r.Errors, r.Err)
	}

	mux, err := NewMultiplex(addr, 2, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mux.Close() }()
	for range 2 {
		r = mux.Run(50*time.Millisecond, func(n int64) *Request {
			if n == 3 {
				return &bad
			}
			return &request
		})
		if r.Calls == 0 || r.Errors != 1 || r.Err == nil {
			t.Errorf("h2c: %d calls, %d errors, %v", r.Calls, r.Errors, r.Err)
		}
	}
}

func TestSwarm(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	event := AppendEnvelope(nil, []byte{2<<3 | 2, 2, 8, 5})
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		flush := w.(http.Flusher).Flush
		flush()
		<-release
		for range 100 {
			_, _ = w.Write(event)
		}
		flush()
		<-r.Context().Done()
	})
	request := Request{Procedure: "/subscribe", Stream: true}
	swarm, err := Subscribe(addr, request.Append(nil), 10)
	if err != nil {
		t.Fatal(err)
	}
	defer swarm.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	close(release)
	if err := swarm.WaitSlowest(ctx, 100); err != nil {
		t.Fatal(err)
	}
	if swarm.Events() != 1000 || swarm.Bytes() != 4000 || swarm.Len() != 10 {
		t.Errorf("%d events, %d bytes on %d streams", swarm.Events(), swarm.Bytes(), swarm.Len())
	}
}
