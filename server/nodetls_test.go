// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
)

// TestTheClusterSecretIsReplacedNodeByNode goes through the steps by which a secret is
// replaced, as docs/cluster.md tells them: nodes that are one step apart know each other,
// either way, and who has the old secret alone is out in the end.
func TestTheClusterSecretIsReplacedNodeByNode(t *testing.T) {
	t.Parallel()
	before, after := strings.Repeat("the old secret ", 3), strings.Repeat("the new secret ", 3)
	var steps []*tls.Config
	for _, text := range []string{before + "\n", before + "\n" + after + "\n", after + "\r\n" + before, after} {
		step, err := clusterSecrets("-cluster-secret-file", text)
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	for n := range steps {
		for m := range steps {
			apart := max(n-m, m-n)
			switch err := shakeHands(t, steps[n], steps[m]); {
			case apart <= 1 && err != nil:
				t.Errorf("a node of step %d does not reach one of step %d: %v", n, m, err)
			case apart == len(steps)-1 && err == nil:
				t.Errorf("a node of step %d reaches one of step %d", n, m)
			}
		}
	}
	for name, text := range map[string]string{"nothing": " \n\n", "a short one": "short", "a short second": before + "\nshort"} {
		if _, err := clusterSecrets("-cluster-secret-file", text); err == nil || !strings.HasPrefix(err.Error(), "-cluster-secret-file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// shakeHands connects two nodes, and returns what either says against it.
func shakeHands(t *testing.T, client, server *tls.Config) error {
	t.Helper()
	here, there := net.Pipe()
	defer func() { _, _ = here.Close(), there.Close() }()
	served := make(chan error, 1)
	go func() { served <- tls.Server(there, server).HandshakeContext(t.Context()) }()
	conn := tls.Client(here, client)
	if err := conn.HandshakeContext(t.Context()); err != nil {
		_ = here.Close()
		<-served
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }() // a pipe keeps nothing; Close ends it
	return <-served
}
