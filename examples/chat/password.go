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
	"strings"

	"github.com/troupe-dev/troupe/server"
)

// passwordVariable names the environment variable of the file that holds the password.
const passwordVariable = "CHAT_PASSWORD_FILE"

// shortestPassword is how many bytes a password has at least.
const shortestPassword = 12

// password is what everybody who may chat knows, by HTTP Basic: a browser asks for it
// once and sends it with every call of the page. It is kept as a hash, which makes all
// of one length to compare.
type password [sha256.Size]byte

// readPassword reads the file of a password.
func readPassword(file string) (password, error) {
	data, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return password{}, fmt.Errorf("%s: %w", passwordVariable, err)
	}
	text := strings.TrimSpace(string(data))
	if len(text) < shortestPassword {
		return password{}, fmt.Errorf("%s: the password in %s has %d bytes, and needs %d", passwordVariable, file, len(text), shortestPassword)
	}
	return sha256.Sum256([]byte(text)), nil
}

// authenticate is the hook of [server.Authenticate]. The user's name is the subject.
func (p password) authenticate(_ context.Context, header http.Header) (server.Principal, error) {
	user, given, ok := (&http.Request{Header: header}).BasicAuth()
	sum := sha256.Sum256([]byte(given))
	if !ok || subtle.ConstantTimeCompare(sum[:], p[:]) != 1 {
		return server.Principal{}, errors.New("no password, or a wrong one")
	}
	return server.Principal{Subject: user}, nil
}

// guard serves a page to who knows the password, and has a browser ask for it.
func (p password) guard(page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := p.authenticate(r.Context(), r.Header); err != nil {
			w.Header().Set("WWW-Authenticate", `Basic realm="chat", charset="UTF-8"`)
			http.Error(w, "the chat has a password", http.StatusUnauthorized)
			return
		}
		page.ServeHTTP(w, r)
	})
}
