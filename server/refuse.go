// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"io"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
)

// unknown is the error about a procedure that is not served.
func (rt *router) unknown(procedure string) error {
	service := serviceName(procedure)
	if rt.services[service] {
		return unknownMethod.errorf("%s has no method %q", service, procedure[len(service)+2:])
	}
	return unknownService.errorf("this server has no service %q", service)
}

// refuse answers with an error, in the caller's protocol. The node that has passed a
// request on learns that it is misrouted, also if the actor has moved only now.
func (rt *router) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if rt.forwarded && misrouted(err) {
		w.Header()[headerMisrouted] = valueTrue
	}
	rt.limitBody(w, r)
	w.Header()["Cache-Control"] = valueNoStore
	_ = rt.errors.Write(w, r, err) // the caller is gone
}

// limitBody bounds the time for a body that nobody will read: net/http does, to
// keep the connection.
func (rt *router) limitBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(rt.limits.BodyTimeout)) // if it can
	}
}

// skipBody reads a body that means nothing, in time: net/http would do so before it
// answers, and wait without end. It returns r without the body.
func (rt *router) skipBody(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	if r.ContentLength == 0 {
		return r, nil
	}
	guard := newGuard(rt.guards, w, r, &rt.limits, rt.errors)
	n, err := io.Copy(io.Discard, io.LimitReader(r.Body, int64(rt.limits.RequestBytes)+1))
	guard.release()
	switch {
	case err != nil:
		return r, receiveError(err)
	case n > int64(rt.limits.RequestBytes):
		return r, tooLarge.errorf("a request has at most %d bytes", rt.limits.RequestBytes)
	}
	r = r.WithContext(r.Context())
	r.Body, r.ContentLength = http.NoBody, 0
	return r, nil
}

// refuseHost answers a request to a name that is not the server's.
func (rt *router) refuseHost(w http.ResponseWriter, r *http.Request) {
	rt.refuse(w, r, hostNotAllowed.errorf("this server does not answer to the host %q: name it in -allowed-hosts", r.Host))
}

// refuseType answers a request whose content type the procedure does not take, as
// Connect does, but with a body that says which ones it takes.
func (rt *router) refuseType(w http.ResponseWriter, r *http.Request, found *route) {
	types := unaryTypes
	if found.spec.StreamType != connect.StreamTypeUnary {
		types = streamTypes
	}
	w.Header().Set("Accept-Post", strings.Join(types, ", "))
	sent := r.Header.Get(headerContentType)
	r.Header.Del(headerContentType) // the answer is plain JSON, whatever this was
	err := badMediaType.errorf("the content type %q is not served here: send %s", sent, strings.Join(types, ", "))
	rt.refuse(statusWriter{w, http.StatusUnsupportedMediaType}, r, err)
}

// refuseEncoding answers a GET that does not say in which encoding its message is, as
// Connect does, but with a body that says how to.
func (rt *router) refuseEncoding(w http.ResponseWriter, r *http.Request) {
	err := badMediaType.errorf("the encoding %q is not served here: a GET has ?encoding=json&message={…} or ?encoding=proto&base64=1&message=…", r.URL.Query().Get("encoding"))
	rt.refuse(statusWriter{w, http.StatusUnsupportedMediaType}, r, err)
}

// statusWriter answers with one status, whatever it is asked for.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (w statusWriter) WriteHeader(int) { w.ResponseWriter.WriteHeader(w.status) }

func answerText(w http.ResponseWriter, status int, text string) {
	w.Header().Set(headerContentType, "text/plain; charset=utf-8")
	w.Header()["Cache-Control"] = valueNoStore
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the caller is gone
}
