// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/troupe-dev/troupe/actors/store/memory"
	"github.com/troupe-dev/troupe/gen/go/counter/v1/counterv1connect"
	"github.com/troupe-dev/troupe/internal/heapfloor"
)

func noEnv(string) string { return "" }

func TestSettings(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "troupe.json")
	if err := os.WriteFile(file, []byte(`{"listen": "127.0.0.1:1", "namespaces": ["a", "b"], "max-calls": 7, "log-level": "debug", "data-dir": "x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"TROUPE_LISTEN": "127.0.0.1:2", "TROUPE_LOG_LEVEL": "warn", "TROUPE_ALLOWED_HOSTS": "h1, h2"}
	s, err := parse([]string{"-config", file, "-listen", "127.0.0.1:3", "-scheduled-turns", "9", "-wake-rate", "8"}, func(name string) string { return env[name] }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != "127.0.0.1:3" || s.logLevel != slog.LevelWarn || s.Limits.Calls != 7 || s.dataDir != "x" ||
		s.ScheduledTurns != 9 || s.WakeRate != 8 || s.ConcurrentWakes != 256 ||
		!cmp.Equal(s.Namespaces, []string{"a", "b"}) || !cmp.Equal(s.AllowedHosts, []string{"h1", "h2"}) {
		t.Errorf("got %+v", s)
	}

	for name, args := range map[string][]string{
		"unknown flag": {"-nothing"},
		"argument":     {"serve"},
		"log format":   {"-log-format", "xml"},
		"half a pair":  {"-tls-cert", "x"},
		"no file":      {"-config", file + ".absent"},
		"no directory": {"-data-dir", ""},
	} {
		if _, err := parse(args, noEnv, io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := os.WriteFile(file, []byte(`{"nothing": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := parse([]string{"-config", file}, noEnv, io.Discard); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("an unknown setting in the file: %v", err)
	}
	if _, err := parse(nil, func(name string) string { return map[string]string{"TROUPE_MAX_CALLS": "many"}[name] }, io.Discard); err == nil {
		t.Error("a bad value in the environment: no error")
	}
	if _, err := parse([]string{"-help"}, noEnv, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-help: %v", err)
	}
}

// TestFlagsAreDocumented holds that the page about the server has a row for each flag.
func TestFlagsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/server.md")
	if err != nil {
		t.Fatal(err)
	}
	new(settings).flags(io.Discard).VisitAll(func(f *flag.Flag) {
		if row := "| `-" + f.Name + "` | `" + envName(f.Name) + "` |"; !strings.Contains(string(page), row) {
			t.Errorf("docs/server.md has no row that begins with %s", row)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // in the error
	}{
		"no registry": {func(c *Config) { c.Registry = nil }, "Registry"},
		"no store":    {func(c *Config) { c.Store = nil }, "Store"},
		"exposed":     {func(c *Config) { c.Listen = "0.0.0.0:8080" }, "-insecure-anonymous"},
		"exposed v6":  {func(c *Config) { c.Listen = "[::]:8080" }, "-insecure-anonymous"},
		"all":         {func(c *Config) { c.Listen = ":8080" }, "-insecure-anonymous"},
		"namespace":   {func(c *Config) { c.Namespaces = []string{"No!"} }, "Namespaces"},
		"origin":      {func(c *Config) { c.CORSOrigins = []string{"*"} }, "CORSOrigins"},
		"origin path": {func(c *Config) { c.CORSOrigins = []string{"https://a.example.com/"} }, "CORSOrigins"},
		"reflection":  {func(c *Config) { c.Reflection = "maybe" }, "Reflection"},
		"limit":       {func(c *Config) { c.Limits.Calls = -1 }, "Limits.Calls"},
		"schedules":   {func(c *Config) { c.ScheduledTurns = -1 }, "ScheduledTurns"},
		"memory":      {func(c *Config) { c.MemoryLimit = -1 }, "MemoryLimit"},
		"node size":   {func(c *Config) { c.Cluster, c.Limits.ResponseBytes = new(Cluster), 33<<20 }, "Limits.ResponseBytes is more than the 33554432"},
		"pattern":     {func(c *Config) { c.Handlers = map[string]http.Handler{"": http.NotFoundHandler()} }, "Handlers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{Registry: newRegistry(), Store: memory.New(memory.Options{}), Logger: slog.New(slog.DiscardHandler)}
			c.change(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	exposed := Config{Listen: "0.0.0.0:80", InsecureAnonymous: true, Reflection: "on", Namespaces: []string{"*"}, AllowedHosts: []string{"*"}}
	if got := exposed.withDefaults().warnings(); len(got) != 5 {
		t.Errorf("warnings: %q", got)
	}
	if got := (Config{}).withDefaults().warnings(); len(got) != 0 {
		t.Errorf("warnings about the defaults: %q", got)
	}
}

// TestExposedListener holds that Serve judges the listener, whatever Listen said.
func TestExposedListener(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "0.0.0.0:0")
	if err != nil {
		t.Skip(err)
	}
	if err := b.Serve(listener); !errors.Is(err, errExposed) {
		t.Errorf("got %v", err)
	}
}

// TestProgram runs the whole program twice over one directory.
func TestProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		address := make(chan net.Addr, 1)
		logs := new(logBuffer)
		p := &program{
			registry: newRegistry(), handlers: map[string]http.Handler{}, listening: func(a net.Addr) { address <- a },
			environ: []string{"TROUPE_LISTEN=", "TROUPE_LISTN=x", "PATH=TROUPE_", "TROUPE_SERVICE_HOST=10.0.0.1", "TROUPE_PORT_80_TCP=tcp"},
		}
		ended := make(chan error, 1)
		go func() {
			ended <- p.run(ctx, []string{"-listen", "127.0.0.1:0", "-data-dir", dir, "-log-format", "json"}, noEnv, logs)
		}()
		select {
		case a := <-address:
			client := &http.Client{Transport: &http.Transport{}}
			response, _ := do(t, client, "http://"+a.String()+counterv1connect.CounterIncrementProcedure, `{"amount":"1"}`, nil)
			client.CloseIdleConnections()
			if response.StatusCode != http.StatusOK {
				t.Errorf("a call: %d", response.StatusCode)
			}
		case err := <-ended:
			t.Fatalf("%v\n%s", err, logs)
		case <-time.After(30 * time.Second):
			t.Fatal("the server does not start")
		}
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the server does not stop")
		}
		if !strings.Contains(logs.String(), `"names":["TROUPE_LISTN"]`) {
			t.Errorf("the log does not name the variable that is no setting, or others:\n%s", logs)
		}
		if !strings.Contains(logs.String(), `"msg":"stopped"`) {
			t.Errorf("log:\n%s", logs)
		}
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	p := &program{registry: newRegistry(), handlers: map[string]http.Handler{}}
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"help":    {[]string{"-h"}, 0},
		"usage":   {[]string{"-listen"}, exitUsage},
		"exposed": {[]string{"-listen", "0.0.0.0:0"}, exitUsage},
		"store":   {[]string{"-listen", "127.0.0.1:0", "-data-dir", "/dev/null/x"}, exitFailure},

		// With a store that does not open: the settings are looked at before.
		"-max-calls is negative":    {[]string{"-data-dir", "/dev/null/x", "-max-calls", "-1"}, exitUsage},
		"-idle-timeout is negative": {[]string{"-data-dir", "/dev/null/x", "-idle-timeout", "-1s"}, exitUsage},
		"-grace-period is negative": {[]string{"-data-dir", "/dev/null/x", "-grace-period", "-1s"}, exitUsage},
		"-memory-limit is negative": {[]string{"-data-dir", "/dev/null/x", "-memory-limit", "-1"}, exitUsage},
		"-cors-origins: ":           {[]string{"-data-dir", "/dev/null/x", "-cors-origins", "example.com"}, exitUsage},
		"-trusted-proxies: ":        {[]string{"-data-dir", "/dev/null/x", "-trusted-proxies", "proxy"}, exitUsage},
		"-namespaces: ":             {[]string{"-data-dir", "/dev/null/x", "-namespaces", "Acme"}, exitUsage},
		"-reflection is auto":       {[]string{"-data-dir", "/dev/null/x", "-reflection", "maybe"}, exitUsage},
	} {
		var output bytes.Buffer
		if got := exitCode(p.run(t.Context(), c.args, noEnv, &output), &output); got != c.want {
			t.Errorf("%s: %d, want %d\n%s", name, got, c.want, &output)
		}
		if usage := "Usage: " + filepath.Base(os.Args[0]) + " [flags]"; name == "help" && !strings.HasPrefix(output.String(), usage) {
			t.Errorf("%s does not begin with %q:\n%s", name, usage, &output)
		}
		if len(c.args) == 4 && c.want == exitUsage && !strings.Contains(output.String(), name) {
			t.Errorf("%s is not in\n%s", name, &output)
		}
	}
}

// TestHeapFloor holds that the heap is collected before it comes to the first mark of load
// that is shed, by whichever limit that is.
func TestHeapFloor(t *testing.T) { //nolint:paralleltest // it sets the limit of the process
	none := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(none)
	for _, c := range []struct{ process, flag, want int64 }{
		{none, 0, heapfloor.Floor},
		{none, 1 << 40, heapfloor.Floor},
		{none, 50 << 20, 25 << 20},
		{50 << 20, 0, 25 << 20},
		{100 << 20, 50 << 20, 25 << 20},
	} {
		debug.SetMemoryLimit(c.process)
		if got := heapFloor(c.flag); got != uint64(c.want) {
			t.Errorf("GOMEMLIMIT %d, -memory-limit %d: %d, want %d", c.process, c.flag, got, c.want)
		}
	}
}

// TestClusterFlagsAreDocumented holds that the page about clusters has a row for each flag
// of the command that the page about the server has not.
func TestClusterFlagsAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	server := new(settings).flags(io.Discard)
	(&clusterCommand{stderr: io.Discard}).flags().VisitAll(func(f *flag.Flag) {
		if server.Lookup(f.Name) == nil && !strings.Contains(string(page), "| `-"+f.Name+"` |") {
			t.Errorf("docs/cluster.md has no row that begins with -%s", f.Name)
		}
	})
}
