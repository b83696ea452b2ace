// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	troupe "github.com/troupe-dev/troupe/clients/go"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"google.golang.org/protobuf/proto"
)

// fakeTransport answers every call with what answer returns. It touches no network,
// so it works in a synctest bubble.
type fakeTransport struct {
	answer   func(attempt int) error
	seen     func(*connect.CallInfo) error // unless nil, answers instead if it returns an error
	attempts atomic.Int64
}

type fakeUnary struct {
	connect.ClientStream
	ctx    context.Context
	result func() error
}

func (t *fakeTransport) NewClientStream(ctx context.Context, _ connect.Spec) (connect.ClientStream, error) {
	attempt := int(t.attempts.Add(1))
	return fakeUnary{ctx: ctx, result: func() error {
		if info, ok := connect.CallInfoForClientContext(ctx); ok {
			info.ResponseHeader().Add("x-attempt", "seen")
			if t.seen != nil {
				if err := t.seen(info); err != nil {
					return err
				}
			}
		}
		return t.answer(attempt)
	}}, nil
}

func (s fakeUnary) Send(any) error    { return nil }
func (s fakeUnary) CloseSend() error  { return nil }
func (s fakeUnary) Close() error      { return nil }
func (s fakeUnary) Receive(any) error { return s.result() }

// TestP18_Retries holds the table of contract section 3.3 as far as this client goes.
func TestP18_Retries(t *testing.T) {
	t.Parallel()
	remote := func(code connect.Code, details ...proto.Message) error {
		return failure(code, "", details...).WithRemote()
	}
	soon := retryIn(time.Millisecond)
	tests := map[string]struct {
		err         error
		write, read int // attempts of a writing and of a read-only method
		keyed       int // attempts of a writing method with an idempotency key
	}{
		"mailbox full":             {remote(connect.CodeResourceExhausted, outcome(notExecuted), soon), 3, 3, 3},
		"draining":                 {remote(connect.CodeUnavailable, outcome(notExecuted), soon), 3, 3, 3},
		"discarded turn":           {remote(connect.CodeAborted, outcome(notExecuted), soon), 3, 3, 3},
		"too large":                {remote(connect.CodeResourceExhausted, outcome(notExecuted)), 1, 1, 1},
		"authored unavailable":     {remote(connect.CodeUnavailable, outcome(notExecuted)), 1, 3, 1},
		"authored aborted":         {remote(connect.CodeAborted, outcome(notExecuted)), 1, 3, 1},
		"commit unknown":           {remote(connect.CodeUnavailable, outcome(unknown), soon), 1, 3, 3},
		"committed":                {remote(connect.CodeUnavailable, outcome(committed), soon), 1, 3, 1},
		"no outcome":               {remote(connect.CodeUnavailable, soon), 1, 3, 3},
		"invalid":                  {remote(connect.CodeInvalidArgument, outcome(notExecuted), soon), 1, 1, 1},
		"denied":                   {remote(connect.CodePermissionDenied, outcome(notExecuted)), 1, 1, 1},
		"wrong state":              {remote(connect.CodeFailedPrecondition, outcome(notExecuted)), 1, 1, 1},
		"panic":                    {remote(connect.CodeInternal, outcome(notExecuted)), 1, 1, 1},
		"turn limit":               {remote(connect.CodeDeadlineExceeded, outcome(notExecuted)), 1, 1, 1},
		"connection refused":       {connect.NewError(connect.CodeUnavailable, "dial"), 1, 3, 3},
		"connection reset":         {connect.NewError(connect.CodeCanceled, "reset"), 1, 3, 3},
		"HTTP 404":                 {connect.NewError(connect.CodeUnimplemented, "404"), 1, 1, 1},
		"HTTP 401":                 {connect.NewError(connect.CodeUnauthenticated, "401"), 1, 1, 1},
		"message above our limit":  {connect.NewError(connect.CodeResourceExhausted, "size"), 1, 1, 1},
		"an hour's wait asked for": {remote(connect.CodeUnavailable, outcome(notExecuted), retryIn(time.Hour)), 1, 1, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				writes := &fakeTransport{answer: func(int) error { return test.err }}
				write(t, troupe.Dial("", troupe.WithTransport(writes), troupe.WithoutIdempotencyKeys()))
				keyed := &fakeTransport{answer: func(int) error { return test.err }}
				write(t, troupe.Dial("", troupe.WithTransport(keyed)))
				reads := &fakeTransport{answer: func(int) error { return test.err }}
				_, err := counterv1connect.NewCounterClient(troupe.Dial("", troupe.WithTransport(reads)).Get("k")).
					Get(t.Context(), &counterv1.GetRequest{})
				if connect.CodeOf(err) != connect.CodeOf(test.err) {
					t.Errorf("error %v, want the last attempt's %v", err, test.err)
				}
				if got := int(writes.attempts.Load()); got != test.write {
					t.Errorf("a writing method was sent %d times, want %d", got, test.write)
				}
				if got := int(keyed.attempts.Load()); got != test.keyed {
					t.Errorf("a writing method with a key was sent %d times, want %d", got, test.keyed)
				}
				if got := int(reads.attempts.Load()); got != test.read {
					t.Errorf("a read-only method was sent %d times, want %d", got, test.read)
				}
			})
		})
	}
}

func write(t *testing.T, client *troupe.Client) {
	t.Helper()
	counter := counterv1connect.NewCounterClient(client.GetOrCreate("k"))
	_, _ = counter.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
}

// TestRetryWaits checks that a retry waits at least what the server asks for, that
// its jitter is bounded, and that only the last attempt's metadata is left.
func TestRetryWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &fakeTransport{answer: func(attempt int) error {
			if attempt < 3 {
				return failure(connect.CodeUnavailable, "", outcome(notExecuted), retryIn(time.Second)).WithRemote()
			}
			return nil
		}}
		client := troupe.Dial("", troupe.WithTransport(transport))
		ctx, info := connect.NewClientContext(t.Context())
		start := time.Now()
		_, err := counterv1connect.NewCounterClient(client.GetOrCreate("k")).
			Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
		if err != nil {
			t.Fatal(err)
		}
		waited := time.Since(start)
		if limit := 2*time.Second + 150*time.Millisecond; waited < 2*time.Second || waited >= limit {
			t.Errorf("waited %v, want between 2 s and %v", waited, limit)
		}
		if got := info.ResponseHeader().Values("x-attempt"); len(got) != 1 {
			t.Errorf("metadata of %d attempts is left", len(got))
		}
	})
}

// TestRetryStopsAtTheDeadline checks that no wait is begun that the caller cannot
// outlast, and that a caller who leaves ends a wait.
func TestRetryStopsAtTheDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := failure(connect.CodeUnavailable, "", outcome(notExecuted), retryIn(time.Second)).WithRemote()
		transport := &fakeTransport{answer: func(int) error { return refused }}
		counter := counterv1connect.NewCounterClient(troupe.Dial("", troupe.WithTransport(transport)).GetOrCreate("k"))

		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := counter.Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
		if connect.CodeOf(err) != connect.CodeUnavailable || time.Since(start) != 0 {
			t.Errorf("error %v after %v, want unavailable at once", err, time.Since(start))
		}

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		start = time.Now()
		_, err = counter.Increment(ctx, &counterv1.IncrementRequest{Amount: 1})
		if connect.CodeOf(err) != connect.CodeUnavailable || time.Since(start) != 100*time.Millisecond {
			t.Errorf("error %v after %v, want unavailable after 100 ms", err, time.Since(start))
		}
	})
}

// TestP18_RetryBudget checks that a server that refuses everything sees at most a tenth
// more calls than were made, beyond what a client begins with.
func TestP18_RetryBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := failure(connect.CodeUnavailable, "", outcome(notExecuted), retryIn(0)).WithRemote()
		transport := &fakeTransport{answer: func(int) error { return refused }}
		client := troupe.Dial("", troupe.WithTransport(transport))
		const calls = 1000
		for range calls {
			write(t, client)
		}
		retries := transport.attempts.Load() - calls
		if limit := int64(calls/10 + 10); retries > limit || retries < calls/10 {
			t.Errorf("%d retries of %d calls, want 100 to %d", retries, calls, limit)
		}
	})
}

// TestP18_IdempotencyKeys looks at the keys of calls: one for all attempts of a call,
// another for the next call, and the caller's own left alone.
func TestP18_IdempotencyKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var keys []string
		transport := &fakeTransport{answer: func(int) error { return nil }}
		transport.seen = func(info *connect.CallInfo) error {
			keys = append(keys, info.RequestHeader().Get("idempotency-key"))
			if len(keys)%2 == 1 {
				return connect.NewError(connect.CodeUnavailable, "lost")
			}
			return nil
		}
		client := troupe.Dial("", troupe.WithTransport(transport))
		counter := counterv1connect.NewCounterClient(client.GetOrCreate("k"))
		ctx, info := connect.NewClientContext(t.Context())
		for range 2 { // with the same metadata
			if _, err := counter.Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
				t.Fatal(err)
			}
		}
		info.RequestHeader().Set("idempotency-key", "mine")
		if _, err := counter.Increment(ctx, &counterv1.IncrementRequest{Amount: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := counter.Get(t.Context(), new(counterv1.GetRequest)); err != nil {
			t.Fatal(err)
		}
		if len(keys) != 8 || !strings.HasPrefix(keys[0], "auto-") || keys[1] != keys[0] || keys[2] == keys[0] || keys[3] != keys[2] ||
			keys[4] != "mine" || keys[5] != "mine" || keys[6] != "" || keys[7] != "" {
			t.Errorf("the keys of the attempts are %q", keys)
		}
		if got := info.RequestHeader().Get("idempotency-key"); got != "mine" {
			t.Errorf("the caller's key became %q", got)
		}
	})
}

// TestP16_ARetryDoesNotMakeACallUndone repeats a call whose first attempt may have
// had its effect: that the last one had none says nothing about the first.
func TestP16_ARetryDoesNotMakeACallUndone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		transport := &fakeTransport{answer: func(attempt int) error {
			if attempt == 1 {
				return connect.NewError(connect.CodeUnavailable, "reset")
			}
			return failure(connect.CodeUnavailable, "stopping", outcome(notExecuted), retryIn(time.Millisecond)).WithRemote()
		}}
		_, err := counterv1connect.NewCounterClient(troupe.Dial("", troupe.WithTransport(transport)).Get("k")).
			Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
		if got := troupe.OutcomeOf(err); got != unknown || connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("the outcome is %v of %v", got, err)
		}
		if _, ok := troupe.RetryDelay(err); !ok || transport.attempts.Load() != 3 {
			t.Errorf("after %d attempts the error has lost its details: %v", transport.attempts.Load(), err)
		}
	})
}

// TestP16_NetHTTPDoesNotRepeatACall ends a connection in place of an answer, and counts
// the requests: net/http would send one that has a key again by itself, over a new
// connection, and nobody would know what became of the first.
func TestP16_NetHTTPDoesNotRepeatACall(t *testing.T) {
	t.Parallel()
	const key, theirs = "idempotency-key", "x-idempotency-key"
	noRetries, noKeys := troupe.WithoutRetries(), troupe.WithoutIdempotencyKeys()
	for name, test := range map[string]struct {
		opts          []troupe.Option
		header, value string
		requests      int64 // of the call whose connection ends
	}{
		"a key of the client":          {requests: 2},
		"a key, no retries":            {opts: []troupe.Option{noRetries}, header: key, value: "mine", requests: 1},
		"a key, an HTTP client":        {opts: []troupe.Option{noRetries, troupe.WithHTTPClient(new(http.Client))}, header: key, value: "mine", requests: 1},
		"an empty key":                 {header: key, requests: 2},
		"an empty key, no own keys":    {opts: []troupe.Option{noKeys}, header: key, requests: 1},
		"an empty key, no retries":     {opts: []troupe.Option{noRetries}, header: key, requests: 1},
		"a key of others":              {header: theirs, value: "mine", requests: 2},
		"a key of others, no own keys": {opts: []troupe.Option{noKeys}, header: theirs, value: "mine", requests: 1},
		"an empty one of others":       {opts: []troupe.Option{noKeys}, header: theirs, requests: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			s := &fakeServer{increment: func(context.Context, *counterv1.IncrementRequest) (*counterv1.IncrementResponse, error) {
				switch requests.Add(1) {
				case 1:
					return new(counterv1.IncrementResponse), nil
				case 2:
					panic(http.ErrAbortHandler)
				}
				return nil, failure(connect.CodeResourceExhausted, "another node is full", outcome(notExecuted))
			}}
			s.start(t)
			client := troupe.Dial(s.url, test.opts...)
			defer client.Close()
			counter := counterv1connect.NewCounterClient(client.GetOrCreate("k"))
			if _, err := counter.Increment(t.Context(), new(counterv1.IncrementRequest)); err != nil { // so that there is a connection
				t.Fatal(err)
			}
			ctx, info := connect.NewClientContext(t.Context())
			if test.header != "" {
				info.RequestHeader().Set(test.header, test.value)
			}
			_, err := counter.Increment(ctx, new(counterv1.IncrementRequest))
			if err == nil || troupe.OutcomeOf(err) != unknown {
				t.Errorf("the outcome is %v of %v", troupe.OutcomeOf(err), err)
			}
			if got := requests.Load() - 1; got != test.requests {
				t.Errorf("the call was sent %d times, want %d", got, test.requests)
			}
		})
	}
}

func TestWithoutRetries(t *testing.T) {
	t.Parallel()
	refused := failure(connect.CodeUnavailable, "", outcome(notExecuted), retryIn(0)).WithRemote()
	transport := &fakeTransport{answer: func(int) error { return refused }}
	write(t, troupe.Dial("", troupe.WithTransport(transport), troupe.WithoutRetries()))
	if got := transport.attempts.Load(); got != 1 {
		t.Errorf("sent %d times, want once", got)
	}
}

// TestCutAnswer cuts the connection in the middle of a real answer: a read-only call
// is sent again, a writing call without an idempotency key is not.
func TestCutAnswer(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Type", "application/proto")
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte{8})
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	client := troupe.Dial(server.URL, troupe.WithoutIdempotencyKeys())
	defer client.Close()
	counter := counterv1connect.NewCounterClient(client.GetOrCreate("k"))

	_, err := counter.Increment(t.Context(), &counterv1.IncrementRequest{Amount: 1})
	if got := requests.Swap(0); got != 1 || troupe.OutcomeOf(err) != unknown {
		t.Errorf("a writing call was sent %d times and failed with %v (%v), want once, unknown", got, err, troupe.OutcomeOf(err))
	}
	_, err = counter.Get(t.Context(), &counterv1.GetRequest{})
	if got := requests.Load(); got != 3 {
		t.Errorf("a read-only call was sent %d times and failed with %v, want three times", got, err)
	}
}

// BenchmarkCall is what the client itself adds to a call.
func BenchmarkCall(b *testing.B) {
	transport := &fakeTransport{answer: func(int) error { return nil }}
	for name, opts := range map[string][]troupe.Option{
		"default":    nil,
		"no retries": {troupe.WithoutRetries()},
	} {
		b.Run(name, func(b *testing.B) {
			client := troupe.Dial("", append(opts, troupe.WithTransport(transport))...)
			counter := counterv1connect.NewCounterClient(client.GetOrCreate("acme", "visits"))
			request := &counterv1.IncrementRequest{Amount: 1}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := counter.Increment(b.Context(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
