// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const root = "../.."

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "troupe-deploy-")
	if err != nil {
		panic(err) // there is no test yet
	}
	built.dir = dir
	os.Exit(func() int {
		defer func() { _ = os.RemoveAll(dir) }() // of the system's temporary files
		return m.Run()
	}())
}

// built are the programs of the tree that the files name, each built once.
var built struct {
	dir string
	mu  sync.Mutex
}

// build returns the path of a program of the tree.
func build(t *testing.T, folder string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	path := filepath.Join(built.dir, filepath.Base(folder))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./"+folder)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", folder, err, out)
	}
	return path
}

// chat is the program that the files run.
func chat(t *testing.T) string { t.Helper(); return build(t, "examples/chat") }

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// chatPassword is the one variable of the example itself.
const chatPassword = "CHAT_PASSWORD_FILE"

var helpFlag = regexp.MustCompile(`(?m)^  -([a-z-]+).*\n(?:    .*?)(?:\(default "?([^")]*)"?\))?$`)

// settings returns the default of each environment variable that the program knows,
// by its own help.
func settings(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), chat(t), "-help").CombinedOutput()
	if err != nil {
		t.Fatalf("-help: %v\n%s", err, out)
	}
	known := map[string]string{chatPassword: "", "GOMEMLIMIT": ""}
	for _, found := range helpFlag.FindAllStringSubmatch(string(out), -1) {
		known["TROUPE_"+strings.ToUpper(strings.ReplaceAll(found[1], "-", "_"))] = found[2]
	}
	if len(known) < 40 || known["TROUPE_GRACE_PERIOD"] != "30s" {
		t.Fatalf("the help is not read: %v", known)
	}
	return known
}

// environment is the variables of one process.
type environment map[string]string

// with returns a copy in which some variables have other values. An empty value takes
// one out.
func (e environment) with(pairs ...string) environment {
	changed := maps.Clone(e)
	for i := 0; i < len(pairs); i += 2 {
		if changed[pairs[i]] = pairs[i+1]; pairs[i+1] == "" {
			delete(changed, pairs[i])
		}
	}
	return changed
}

func (e environment) list() []string {
	list := make([]string, 0, len(e))
	for name, value := range e {
		list = append(list, name+"="+value)
	}
	return list
}

// duration is a setting that is a time.
func (e environment) duration(t *testing.T, name string) time.Duration {
	t.Helper()
	value := e[name]
	if value == "" {
		value = settings(t)[name]
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

// port is the port of a setting that is an address.
func (e environment) port(t *testing.T, name string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(e[name])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return port
}

// exposed tells whether a setting is an address that others reach.
func (e environment) exposed(t *testing.T, name string) bool {
	t.Helper()
	host, _, err := net.SplitHostPort(e[name])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	address, err := netip.ParseAddr(host)
	return err != nil || !address.IsLoopback()
}

// check holds an environment against the program: it knows every variable and takes
// every value, and it does not start without the credentials.
func (e environment) check(t *testing.T) {
	t.Helper()
	known := settings(t)
	for name := range e {
		if _, ok := known[name]; !ok {
			t.Errorf("the program knows no %s", name)
		}
	}
	secret := secretFile(t, strings.Repeat("s", 64))
	e = e.with("TROUPE_DATA_DIR", "/dev/null/none")
	if e["TROUPE_DATABASE_URL"] != "" { // nobody listens there
		e = e.with("TROUPE_DATABASE_URL", "postgres://127.0.0.1:1/none?connect_timeout=1", "TROUPE_CLUSTER_LISTEN", "127.0.0.1:0", "TROUPE_CLUSTER_ADVERTISE", "")
	}
	for name := range e {
		if name == chatPassword || name == "TROUPE_CLUSTER_SECRET_FILE" {
			e = e.with(name, secret)
		}
	}
	const failed, refused = 1, 2 // exit codes: it has read the settings; they are wrong
	if code, out := exits(t, e); code != failed {
		t.Errorf("exit code %d instead of %d, which a node without its store has: %s", code, failed, out)
	}
	var needed []string
	if e.exposed(t, "TROUPE_LISTEN") {
		needed = append(needed, chatPassword)
	}
	if e["TROUPE_CLUSTER_LISTEN"] != "" {
		needed = append(needed, "TROUPE_CLUSTER_SECRET_FILE")
	}
	for _, name := range needed {
		if e[name] == "" {
			t.Errorf("there is no %s, and it listens beyond loopback", name)
		}
		if code, out := exits(t, e.with(name, "")); code != refused {
			t.Errorf("without %s: exit code %d instead of %d: %s", name, code, refused, out)
		}
	}
}

// exits runs the program, which must end, and returns its exit code.
func exits(t *testing.T, e environment) (int, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), chat(t))
	cmd.Env = e.list()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// secretFile makes a file of a secret.
func secretFile(t *testing.T, secret string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wantSame reports values that do not agree.
func wantSame[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// wantEach reports a list that lacks something.
func wantEach(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	for _, one := range want {
		if !slices.Contains(got, one) {
			t.Errorf("%s: %v has no %s", what, got, one)
		}
	}
}
