// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// control is the HTTP interface by which runners have runs:
//
//	POST   /runs             settings in JSON; answers {"id": …, "url": …, "direct": …}
//	POST   /runs/{id}/{act}  a step of the network or the server, with ?ms= for delay
//	DELETE /runs/{id}        ends the run
//
// Pages of every origin may use it.
type control struct {
	certificate tls.Certificate

	mu   sync.Mutex
	runs map[string]*run // guarded by mu
	last int             // guarded by mu
}

func newControl(certificate tls.Certificate) *control {
	return &control{certificate: certificate, runs: make(map[string]*run)}
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /runs", c.create)
	mux.HandleFunc("POST /runs/{id}/{act}", c.act)
	mux.HandleFunc("DELETE /runs/{id}", c.remove)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Methods", "POST, DELETE")
		w.Header().Set("Access-Control-Allow-Headers", "content-type")
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (c *control) create(w http.ResponseWriter, r *http.Request) {
	var s settings
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	made, err := newRun(s, c.certificate)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	c.mu.Lock()
	c.last++
	id := strconv.Itoa(c.last)
	c.runs[id] = made
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	answer(w, map[string]any{"id": id, "url": made.url(made.proxy), "direct": made.url(made.direct)})
}

// answer writes an object in JSON.
func answer(w http.ResponseWriter, object map[string]any) {
	text, err := json.Marshal(object)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(text) // who asked may be gone
}

func (c *control) find(w http.ResponseWriter, r *http.Request) (string, *run) {
	id := r.PathValue("id")
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.runs[id]
	if found == nil {
		http.NotFound(w, r)
	}
	return id, found
}

func (c *control) act(w http.ResponseWriter, r *http.Request) {
	_, found := c.find(w, r)
	if found == nil {
		return
	}
	ms, _ := strconv.Atoi(r.URL.Query().Get("ms")) // 0 unless it is a number
	known, err := found.act(r.PathValue("act"), time.Duration(ms)*time.Millisecond)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case !known:
		http.Error(w, "there is no act "+r.PathValue("act"), http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func (c *control) remove(w http.ResponseWriter, r *http.Request) {
	id, found := c.find(w, r)
	if found == nil {
		return
	}
	c.mu.Lock()
	delete(c.runs, id)
	c.mu.Unlock()
	if err := found.close(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
