// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package tools_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/troupe-dev/troupe/test/program"
)

// snippet is one piece of code of a page.
type snippet struct{ section, language, text string }

// readSnippets returns the code of a page, in order.
func readSnippets(t *testing.T, path string) []snippet {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []snippet
	var open *snippet
	section := ""
	for line := range strings.Lines(string(text)) {
		switch {
		case open != nil && line == "```\n":
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line
		case strings.HasPrefix(line, "```"):
			open = &snippet{section: section, language: strings.TrimSpace(line[3:])}
		case strings.HasPrefix(line, "## "):
			section = strings.TrimSpace(line[3:])
		}
	}
	return all
}

// expected is what running one snippet prints. A snippet that follows a stream is left
// once it has printed the first texts, and the others after another call.
type expected struct {
	section string
	prints  []string
	follows []string
}

// clientsPage is what docs/clients.md does, in order. The counts tell that each piece
// reached the same actor as those before it.
var clientsPage = []expected{
	{section: "curl: a call", prints: []string{`"count":"5"`}},
	{section: "curl: a call", prints: []string{`"count":"7"`}},
	{section: "curl: a GET", prints: []string{`"count":"7"`}},
	{section: "curl: events", prints: []string{"id: ", "event: opened", "data: {"}, follows: []string{"event: countChanged", `"count":"8"`}},
	{section: "grpcurl", prints: []string{`"count": "9"`}},
	{section: "grpcurl", prints: []string{`"opened"`}, follows: []string{`"countChanged"`, `"count": "10"`}},
	{section: "grpcurl: many actors on one stream", prints: []string{`"streamId"`}, follows: []string{`"subscription": 1`, `"event"`}},
	{section: "buf curl", prints: []string{`"count":"12"`}},
	{section: "A stock Connect client in TypeScript", prints: []string{"count is 13", "changed to 14"}},
	{section: "grpc-go", prints: []string{"count is 15", "connection "}},
	{section: "Python"},
	{section: "Python", prints: []string{"count is 16 says ", "changed to 17", "failed with FAILED_PRECONDITION"}},
	{section: "OpenAPI", prints: []string{`"openapi": "3.1.0"`, "/counter.v1.Counter/Increment"}},
}

// TestClientsPage runs every piece of code of docs/clients.md against the counter.
func TestClientsPage(t *testing.T) {
	t.Parallel()
	bed := newPageBed(t)
	snippets := readSnippets(t, filepath.Join(bed.root, "docs/clients.md"))
	if len(snippets) != len(clientsPage) {
		t.Fatalf("the page has %d pieces of code and the test knows %d", len(snippets), len(clientsPage))
	}
	for n, s := range snippets {
		want := clientsPage[n]
		if s.section != want.section {
			t.Fatalf("piece %d is in %q, want %q", n, s.section, want.section)
		}
		bed.run(t, s, want)
	}
}

// pageBed is a server and the programs that the page uses.
type pageBed struct {
	root    string // of the repository
	work    string // where files are made
	address string
	path    string // PATH
}

func newPageBed(t *testing.T) *pageBed {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import grpc, grpc_tools").Run(); err != nil {
		t.Fatalf("python3-grpcio or python3-grpc-tools is missing: run scripts/setup (%v)", err)
	}
	grpcurl := program.Build(t, "github.com/fullstorydev/grpcurl/cmd/grpcurl", "-modfile="+filepath.Join(root, "tools/go.mod"))
	s := program.Start(t, program.Build(t, module+"/examples/counter"), t.TempDir())
	return &pageBed{
		root: root, work: t.TempDir(), address: strings.TrimPrefix(s.URL, "http://"),
		path: strings.Join([]string{filepath.Dir(grpcurl), filepath.Join(root, "node_modules/.bin"), "/usr/bin", os.Getenv("PATH")}, ":"),
	}
}

// command makes the command that runs a snippet.
func (b *pageBed) command(ctx context.Context, t *testing.T, s snippet) *exec.Cmd {
	t.Helper()
	text := strings.ReplaceAll(s.text, "127.0.0.1:8080", b.address)
	script := text
	switch s.language {
	case "sh":
		script = strings.ReplaceAll(text, "_out=.", "_out="+b.work)
	case "go":
		b.write(t, "main.go", text)
		script = "go run " + filepath.Join(b.work, "main.go")
	case "python":
		b.write(t, "page.py", text)
		script = "python3 " + filepath.Join(b.work, "page.py")
	case "ts":
		b.write(t, "page.ts", text)
		script = "esbuild --bundle --platform=node --format=esm --loader=ts --log-level=error <" + filepath.Join(b.work, "page.ts") +
			" | node --input-type=module"
	default:
		t.Fatalf("the test does not know how to run %q", s.language)
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -euo pipefail\n"+script)
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "PATH="+b.path, "PYTHONPATH="+b.work)
	return cmd
}

func (b *pageBed) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.work, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs one snippet and holds it to what it prints.
func (b *pageBed) run(t *testing.T, s snippet, want expected) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := b.command(ctx, t, s)
	var stderr lockedBuffer
	cmd.Stderr = &stderr
	if want.follows == nil {
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s\n%s%s", s.section, err, s.text, out, stderr.String())
		}
		for _, text := range want.prints {
			if !strings.Contains(withoutSpace(out), text) && !strings.Contains(string(out), text) {
				t.Errorf("%s: it prints %s, without %s", s.section, out, text)
			}
		}
		return
	}
	// The commands of a shell die with it: it is replaced by the last one.
	cmd.Args[2] = strings.Replace(cmd.Args[2], "\n", "\nexec ", 1)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for _, text := range want.prints {
		waitFor(t, lines, text)
	}
	run(t, "curl", "-sS", "--json", `{"amount":1}`, "http://"+b.address+"/actors/default/demo/@/counter.v1.Counter/Increment")
	for _, text := range want.follows {
		waitForSome(t, lines, text, &stderr)
	}
	cancel()
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // killed
}

// waitForSome reads on until a line has a text, the last line read being one of them.
func waitForSome(t *testing.T, lines *bufio.Scanner, text string, stderr *lockedBuffer) {
	t.Helper()
	for line := lines.Text(); ; line = lines.Text() {
		if strings.Contains(line, text) || strings.Contains(withoutSpace([]byte(line)), text) {
			return
		}
		if !lines.Scan() {
			t.Fatalf("the stream ended before %s: %v %s", text, lines.Err(), stderr.String())
		}
	}
}

// withoutSpace takes the spaces out of JSON: its encoder varies them on purpose.
func withoutSpace(text []byte) string { return strings.ReplaceAll(string(text), `: "`, `:"`) }

// lockedBuffer may be read while a process writes to it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
