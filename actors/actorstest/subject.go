// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actorstest

import (
	"context"
	"net/http"

	troupe "github.com/troupe-dev/troupe/clients/go"
	"github.com/troupe-dev/troupe/server"
)

// headerSubject is how the kit's clients say who they are.
const headerSubject = "Actorstest-Subject"

// As makes a client call as a subject, which actors see by [actors.SubjectOf]. It is
// a user, who may name every namespace of the server and neither list nor destroy
// actors. The subject must fit in a header; the empty one is anonymous.
//
//	alice := srv.Dial(actorstest.As("alice"))
//
// A client without it is anonymous and may do everything. A server that was
// configured with an Authenticate of its own asks that one, which does not know As.
func As(subject string) troupe.Option { return troupe.WithHeader(headerSubject, subject) }

// believe returns the authentication hook of a server for tests: callers are who they
// say they are.
func believe(namespaces []string) func(context.Context, http.Header) (server.Principal, error) {
	return func(_ context.Context, header http.Header) (server.Principal, error) {
		if subject := header.Get(headerSubject); subject != "" {
			return server.Principal{Subject: subject, Namespaces: namespaces}, nil
		}
		return server.Principal{Role: server.RoleServer, Namespaces: []string{"*"}}, nil
	}
}
