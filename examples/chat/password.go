// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/troupe-dev/troupe/server"
)

// passwordVariable names the environment variable of the file that holds the password.
const passwordVariable = "CHAT_PASSWORD_FILE"

// shortestPassword is how many bytes a password has at least.
const shortestPassword = 12

// password is a hash, which makes all of one length to compare.
type password [sha256.Size]byte

// passwords are what everybody who may chat knows, and, if there is another one, what
// the operator knows: by HTTP Basic, which a browser asks for once and sends with every
// call of the page.
type passwords []password

// readPasswords reads the file of the passwords, one on a line.
func readPasswords(file string) (passwords, error) {
	data, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("%s: %w", passwordVariable, err)
	}
	var all passwords
	for n, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		text := strings.TrimSpace(line)
		sum := password(sha256.Sum256([]byte(text)))
		switch {
		case n > 1:
			return nil, fmt.Errorf("%s: %s has more lines than the password and the operator's", passwordVariable, file)
		case len(text) < shortestPassword:
			return nil, fmt.Errorf("%s: the password in line %d of %s has %d bytes, and needs %d", passwordVariable, n+1, file, len(text), shortestPassword)
		case slices.Contains(all, sum):
			return nil, fmt.Errorf("%s: the operator's password in %s is everybody's", passwordVariable, file)
		}
		all = append(all, sum)
	}
	return all, nil
}

// authenticate is the hook of [server.Authenticate]. The user's name is the subject.
func (p passwords) authenticate(_ context.Context, header http.Header) (server.Principal, error) {
	user, given, ok := (&http.Request{Header: header}).BasicAuth()
	sum := sha256.Sum256([]byte(given))
	for n, known := range p {
		if ok && subtle.ConstantTimeCompare(sum[:], known[:]) == 1 {
			who := server.Principal{Subject: user}
			if n == 1 {
				who.Role, who.Namespaces = server.RoleServer, []string{"*"}
			}
			return who, nil
		}
	}
	return server.Principal{}, errors.New("no password, or a wrong one")
}

// guard serves a page to who knows the password, not to the operator, and has a browser ask for it.
func (p passwords) guard(page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := p[:1].authenticate(r.Context(), r.Header); err != nil { // nothing slows guesses here
			w.Header().Set("WWW-Authenticate", `Basic realm="chat", charset="UTF-8"`)
			http.Error(w, "the chat has a password", http.StatusUnauthorized)
			return
		}
		page.ServeHTTP(w, r)
	})
}
