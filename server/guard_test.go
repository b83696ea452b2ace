// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// stuck is a response whose peer takes nothing: a write ends when its deadline has
// passed.
type stuck struct {
	http.ResponseWriter
	cut     chan struct{}
	room    int // what is buffered for it
	flushes int
}

var errCut = errors.New("the deadline passed")

func (s *stuck) Write(p []byte) (int, error) {
	if s.room >= len(p) && len(p) > 0 {
		s.room -= len(p)
		return len(p), nil
	}
	<-s.cut
	return 0, errCut
}

func (s *stuck) SetWriteDeadline(time.Time) error {
	close(s.cut)
	return nil
}

func (s *stuck) Flush() { s.flushes++ }

func TestStuckSubscriber(t *testing.T) {
	t.Parallel()
	peer := &stuck{ResponseWriter: httptest.NewRecorder(), cut: make(chan struct{})}
	w := newStreamWriter(peer, time.Millisecond)
	if err := w.write([]byte("frame"), false); !errors.Is(err, errCut) {
		t.Errorf("got %v", err)
	}
}

// TestAnAnswerThatIsPassedOnMustBeTaken has a peer take nothing of what another node
// answers, as a stream and as the end of a long answer that came in small pieces.
func TestAnAnswerThatIsPassedOnMustBeTaken(t *testing.T) {
	t.Parallel()
	endless := io.NopCloser(iotest.OneByteReader(zeros{}))
	peer := &stuck{ResponseWriter: httptest.NewRecorder(), cut: make(chan struct{})}
	p := &passing{w: newStreamWriter(peer, time.Millisecond)}
	p.answer(t.Context(), &http.Response{StatusCode: http.StatusOK, ContentLength: -1, Body: endless})
	select {
	case <-peer.cut:
	default:
		t.Error("the stream was not cut")
	}

	limits := Limits{BodyTimeout: time.Minute, WriteTimeout: time.Millisecond}
	full := &stuck{ResponseWriter: httptest.NewRecorder(), cut: make(chan struct{}), room: bufferedBytes}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	g := newGuard(newGuards(), full, r, &limits, nil)
	p = &passing{w: g}
	p.answer(t.Context(), &http.Response{StatusCode: http.StatusOK, ContentLength: 1 << 20, Body: endless})
	g.release()
	select {
	case <-full.cut:
	default:
		t.Error("the answer was not cut")
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestStuckCaller(t *testing.T) {
	t.Parallel()
	limits := Limits{BodyTimeout: time.Minute, WriteTimeout: time.Millisecond}
	peer := &stuck{ResponseWriter: httptest.NewRecorder(), cut: make(chan struct{})}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("body"))
	g := newGuard(newGuards(), peer, r, &limits, nil)
	if _, err := io.ReadAll(r.Body); err != nil {
		t.Fatal(err)
	}
	if n, err := g.Write(make([]byte, 2*chunkBytes)); n != 0 || !errors.Is(err, errCut) {
		t.Errorf("got %d, %v", n, err)
	}
	g.release()
}

func TestLargeResponse(t *testing.T) {
	t.Parallel()
	limits := Limits{BodyTimeout: time.Minute, WriteTimeout: time.Minute}
	recorder := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	g := newGuard(newGuards(), recorder, r, &limits, nil)
	data := bytes.Repeat([]byte("0123456789"), chunkBytes/4)
	if n, err := g.Write(data); n != len(data) || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	g.release()
	if !bytes.Equal(recorder.Body.Bytes(), data) {
		t.Error("the response is not what was written")
	}
}

// flushed counts the flushes of a response.
type flushed struct {
	*httptest.ResponseRecorder
	flushes int
}

func (f *flushed) FlushError() error {
	f.flushes++
	return nil
}

func TestFramesAreFlushedOnceNoMoreAreReady(t *testing.T) {
	t.Parallel()
	peer := &flushed{ResponseRecorder: httptest.NewRecorder()}
	w := newStreamWriter(peer, time.Minute)
	for _, step := range []struct {
		more bool
		want int
	}{{true, 0}, {true, 0}, {false, 1}, {false, 2}, {true, 2}} {
		if err := w.write([]byte("frame"), step.more); err != nil {
			t.Fatal(err)
		}
		if peer.flushes != step.want {
			t.Errorf("%+v: %d flushes", step, peer.flushes)
		}
	}
	w.finish()
	w.Flush()
	if peer.flushes != 3 {
		t.Errorf("the last bytes are not flushed: %d", peer.flushes)
	}
	w.disarm()
}
