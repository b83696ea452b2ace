// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package program builds and runs the example servers as a user does, for tests.
package program

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
)

// Build compiles a package of this module, such as "examples/counter", and returns
// the program's path.
func Build(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), filepath.Base(name))
	args = append([]string{"build", "-o", path}, append(args, name)...)
	cmd := exec.CommandContext(tb.Context(), "go", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go build %s: %v\n%s", name, err, out)
	}
	return path
}

// Process is a running server.
type Process struct {
	// URL is where it listens.
	URL string
	// Client has a pool of connections to it.
	Client *http.Client
	// Exited is closed once it has ended.
	Exited chan struct{}

	cmd  *exec.Cmd
	logs *os.File // what it says
}

// listening is what a server logs once it serves.
var listening = regexp.MustCompile(`url=(http://\S+)`)

// Start runs a server on a free port of loopback and waits until it listens. It is
// killed when the test ends.
func Start(tb testing.TB, path, data string, args ...string) *Process {
	tb.Helper()
	return Run(tb, command(path, data, args))
}

// Run runs a server whose settings are all in cmd, and waits until it listens. It is
// killed when the test ends.
func Run(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	s := launch(tb, cmd)
	if err := s.Await(tb); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Launch is the first half of [Start], for who has to know of the process before it
// listens: it runs a server. [Process.Await] is the other one, and must follow.
func Launch(tb testing.TB, path, data string, args ...string) *Process {
	tb.Helper()
	return launch(tb, command(path, data, args))
}

func command(path, data string, args []string) *exec.Cmd {
	return exec.Command(path, append([]string{"-listen", "127.0.0.1:0", "-data-dir", data}, args...)...) //nolint:noctx // Kill ends it
}

func launch(tb testing.TB, cmd *exec.Cmd) *Process {
	tb.Helper()
	s := &Process{
		Client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		Exited: make(chan struct{}),
		cmd:    cmd,
	}
	logs, output, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = output, output
	if err := s.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	_ = output.Close()
	tb.Cleanup(s.Kill)
	go func() {
		_ = s.cmd.Wait()
		close(s.Exited)
	}()
	s.logs = logs
	return s
}

// Await waits until the server listens, or says that it has ended before.
func (s *Process) Await(tb testing.TB) error {
	tb.Helper()
	lines := bufio.NewReader(s.logs)
	for s.URL == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			return fmt.Errorf("the server did not start: %w", err)
		}
		if match := listening.FindStringSubmatch(line); match != nil {
			s.URL = match[1]
		} else {
			tb.Log(line)
		}
	}
	said := new(tail)
	go func() {
		_, _ = io.Copy(said, lines)
		_ = s.logs.Close()
	}()
	tb.Cleanup(func() { // before Kill
		if tb.Failed() {
			tb.Logf("the server at %s said last:\n%s", s.URL, said.text())
		}
	})
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte // guarded by mu
}

const tailBytes = 16 << 10

// Write implements [io.Writer].
func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, b...)
	l.kept = append(l.kept[:0], l.kept[max(0, len(l.kept)-tailBytes):]...)
	return len(b), nil
}

func (l *tail) text() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.kept)
}

// Kill ends the server with SIGKILL and waits until it is gone.
func (s *Process) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.Exited
	s.Client.CloseIdleConnections()
}

// ID is the process's.
func (s *Process) ID() int { return s.cmd.Process.Pid }

// Signal sends the server a signal.
func (s *Process) Signal(signal os.Signal) error { return s.cmd.Process.Signal(signal) }

// Stop asks the server to stop and waits until it has, or reports that it failed.
func (s *Process) Stop() error {
	if err := s.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-s.Exited
	s.Client.CloseIdleConnections()
	if state := s.cmd.ProcessState; !state.Success() {
		return fmt.Errorf("the server ended with %s", state)
	}
	return nil
}
