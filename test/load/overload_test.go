// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors"
	counterv1 "github.com/troupe-dev/troupe/gen/go/counter/v1"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"github.com/troupe-dev/troupe/server"
)

// work is what one action takes: the capacity of its actor is the inverse, whatever
// the machine.
const work = 2 * time.Millisecond

// answers counts what callers get.
type answers struct {
	good, refused, malformed atomic.Int64
	served, refusals         latencies
}

// TestP46_Overload sends an actor three times the calls that it can serve, over HTTP.
// Each is served, or refused with resource_exhausted and when to try again.
func TestP46_Overload(t *testing.T) { //nolint:paralleltest // it measures
	s := openStore(t, t.TempDir())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	edge, err := server.New(server.Config{
		Store: s, Logger: slog.New(slog.DiscardHandler),
		Registry: newRegistry(func(context.Context, *counter, *counterv1.IncrementRequest) error {
			<-time.After(work)
			return nil
		}, actors.MailboxSize(16), actors.MaxUndurableTurns(64)),
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- edge.Serve(listener) }()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512}}
	defer func() {
		client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := edge.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	url := "http://" + listener.Addr().String() + counterv1connect.CounterIncrementProcedure
	duration := time.Duration(size(500, 5000)) * time.Millisecond

	peak := new(answers) // eight callers at a time: the mailbox has room for them
	stop := forAWhile(duration)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					peak.call(t, client, url)
				}
			}
		})
	}
	callers.Wait()
	capacity := float64(peak.good.Load()) / duration.Seconds()

	over := new(answers)
	interval := time.Duration(float64(time.Second) / (3 * capacity))
	ticker := time.NewTicker(interval)
	began := time.Now()
	sent := 0
	for time.Since(began) < duration {
		<-ticker.C
		for due := int(time.Since(began) / interval); sent < due; sent++ { // ticks that were missed too
			callers.Go(func() { over.call(t, client, url) })
		}
	}
	ticker.Stop()
	elapsed := time.Since(began)
	callers.Wait()
	goodput := float64(over.good.Load()) / elapsed.Seconds()
	if n := over.malformed.Load() + peak.malformed.Load(); n > 0 {
		t.Errorf("%d answers are neither a reply nor a refusal that says when to try again", n)
	}
	if got := over.good.Load() + over.refused.Load() + over.malformed.Load(); got != int64(sent) {
		t.Errorf("%d calls were answered of %d", got, sent)
	}
	t.Logf("P46: capacity %.0f/s; sent %.0f/s: goodput %.0f/s, %.2f of the capacity, bound 0.80; refusals: %v, bound 20 ms; served: %v",
		capacity, float64(sent)/elapsed.Seconds(), goodput, goodput/capacity, &over.refusals, &over.served)
}

func (a *answers) call(t *testing.T, client *http.Client, url string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader([]byte(`{"amount":1}`)))
	if err != nil {
		t.Error(err)
		return
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Actor-Key", "hot")
	began := time.Now()
	response, err := client.Do(request)
	if err != nil {
		a.malformed.Add(1)
		return
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	var refusal struct {
		Code    string
		Details []struct{ Type string }
	}
	retry := false
	if json.Unmarshal(body, &refusal) == nil {
		for _, detail := range refusal.Details {
			retry = retry || detail.Type == "google.rpc.RetryInfo"
		}
	}
	switch {
	case err == nil && response.StatusCode == http.StatusOK:
		a.good.Add(1)
		a.served.add(time.Since(began))
	case err == nil && refusal.Code == "resource_exhausted" && retry:
		a.refused.Add(1)
		a.refusals.add(time.Since(began))
	default:
		a.malformed.Add(1)
	}
}
