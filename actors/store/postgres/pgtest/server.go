// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Package pgtest runs real PostgreSQL servers for tests, of the version that is
// installed on the machine.
//
// A package's tests share one server, which the first of them starts:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
//	func TestStore(t *testing.T) {
//		s, err := postgres.Open(t.Context(), postgres.Options{URL: pgtest.Database(t)})
//
// A test that stops, kills or promotes a server starts one of its own: see [Start].
// Where PostgreSQL is not installed, the tests fail and say what to install.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startTimeout bounds how long a server may take to answer, on a loaded machine and
// after a crash.
const startTimeout = 90 * time.Second

// Server is a PostgreSQL server on 127.0.0.1, with its files in a directory of its own.
// Its methods may be called concurrently, but for those that start and stop it.
type Server struct {
	bin   string // directory of the programs
	dir   string
	port  int
	owner *syscall.SysProcAttr // who runs it; the server refuses to run as root

	mu      sync.Mutex // guards process
	process *process   // nil while it does not run
	names   atomic.Int64
}

// process is a server that runs.
type process struct {
	id     int
	exited chan struct{} // closed when it has ended
}

// Start starts a new server that ends with the test. Settings are lines of its
// configuration, such as "fsync = off".
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := New("", settings...)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// New starts a new server for a program that is no test, with its files in a new
// directory below parent, or below the usual one for temporary files. Close must follow.
func New(parent string, settings ...string) (*Server, error) {
	s, err := prepare(parent)
	if err != nil {
		return nil, err
	}
	if out, err := s.command("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync").CombinedOutput(); err != nil {
		s.Close()
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	settings = append([]string{
		"listen_addresses = '127.0.0.1'",
		"unix_socket_directories = ''",
		"max_connections = 200",
		"shared_buffers = 64MB",
		"log_checkpoints = off",
	}, settings...)
	if err := s.configure(settings); err != nil {
		s.Close()
		return nil, err
	}
	if err := s.start(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// prepare makes a directory that the server may have.
func prepare(parent string) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin}
	if s.owner, err = unprivileged(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp(parent, "troupe-pg-"); err != nil {
		return nil, err
	}
	if c := s.owner.Credential; c != nil {
		if err := os.Chown(s.dir, int(c.Uid), int(c.Gid)); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command is a program of PostgreSQL, run by the owner of the server.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...) //nolint:gosec,noctx // a program of the server's; it ends by itself
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = s.owner
	return cmd
}

// configure adds settings to those that the server has.
func (s *Server) configure(settings []string) error {
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(settings, "\n") + "\n")
	return errors.Join(err, f.Close())
}

// start starts the server and waits until it answers. A port that another has taken
// in the meantime is changed, at the first start.
func (s *Server) start() error {
	for attempt := 0; ; attempt++ {
		fresh := s.port == 0
		if fresh {
			port, err := freePort()
			if err != nil {
				return err
			}
			s.port = port
		}
		err := s.startOnce()
		if err == nil || !fresh || attempt == 5 {
			return err
		}
		s.port = 0
	}
}

func (s *Server) startOnce() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the server has its own
	cmd := s.command("postgres", "-D", s.data(), "-p", strconv.Itoa(s.port))
	cmd.Stdout, cmd.Stderr = log, log
	p := &process{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The server ends with the thread that started it: see endWithParent.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ends is the test's business
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.id = cmd.Process.Pid
	s.mu.Lock()
	s.process = p
	s.mu.Unlock()
	if err := s.answers(p); err != nil {
		s.end(syscall.SIGQUIT)
		return err
	}
	return nil
}

// answers waits until the server takes connections.
func (s *Server) answers(p *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.exited:
			return fmt.Errorf("the server ended:\n%s", s.tail())
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w\n%s", err, s.tail())
		case <-tick.C:
		}
	}
}

// tail is the end of what the server has logged.
func (s *Server) tail() []byte {
	log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // what there is of it
	return log[max(0, len(log)-4000):]
}

// CPU is the time that the server and its processes have used; 0 where nobody knows.
func (s *Server) CPU() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return cpuTime(s.process.id)
}

// Log is what the server has logged so far.
func (s *Server) Log(t testing.TB) string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return string(bytes.ToValidUTF8(log, nil))
}

// URL is the address of a database of the server, for its superuser.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", s.Addr(), database)
}

// Addr is the host and port of the server.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Stop ends the server at once, without a checkpoint: it has to recover when it starts
// again. What it has written is with the system and not lost.
func (s *Server) Stop() { s.end(syscall.SIGQUIT) }

// Shutdown ends the server in order, its sessions first.
func (s *Server) Shutdown() { s.end(syscall.SIGINT) }

// Kill kills the server and all its processes with SIGKILL, and returns when they are
// gone: a server does not start while one of them holds the shared memory.
func (s *Server) Kill() {
	s.mu.Lock()
	p := s.process
	s.process = nil
	s.mu.Unlock()
	if p == nil {
		return
	}
	_ = syscall.Kill(p.id, syscall.SIGSTOP) // it begins no other
	all := children(p.id)
	for _, child := range all { // each is the head of its own group
		_ = syscall.Kill(child, syscall.SIGKILL) // gone already
	}
	_ = syscall.Kill(p.id, syscall.SIGKILL)
	<-p.exited
	awaitEnd(all)
}

// Start starts a server again that has been stopped or killed, at the same address.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatalf("pgtest: start again: %v", err)
	}
}

func (s *Server) end(signal syscall.Signal) {
	s.mu.Lock()
	p := s.process
	s.process = nil
	s.mu.Unlock()
	if p != nil {
		_ = syscall.Kill(p.id, signal) // it may have ended by itself
		<-p.exited
	}
}

// Close ends the server and removes its files.
func (s *Server) Close() {
	s.end(syscall.SIGQUIT)
	if s.dir != "" {
		_ = os.RemoveAll(s.dir) // nothing is lost with what stays
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // it is TCP
	return port, l.Close()
}
