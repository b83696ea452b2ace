// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"errors"
	"net"
	"net/netip"
	"strings"
)

// errExposed is why a server without authentication does not start.
var errExposed = errors.New("the address is not on the loopback interface and callers are anonymous: " +
	"listen on 127.0.0.1, say who calls by the option Authenticate, or allow it with -insecure-anonymous (Config.InsecureAnonymous)")

// checkListen refuses an address that is known to be exposed. A name other than
// localhost is judged when the listener is there.
func checkListen(address string, allowed bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip, ipErr := netip.ParseAddr(host)
	if !allowed && (host == "" || ipErr == nil && !ip.Unmap().IsLoopback()) {
		return errExposed
	}
	return nil
}

// isLoopback reports whether an address such as 127.0.0.1:8080 can be reached from
// this machine only.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
