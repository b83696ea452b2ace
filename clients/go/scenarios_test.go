// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package troupe_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect/v2/connecthttp"
	troupe "github.com/troupe-dev/troupe/clients/go"
	"github.com/troupe-dev/troupe/test/program"
)

// stepTime is how long one step of a scenario may take.
const stepTime = 30 * time.Second

// TestScenarios does the scenarios of clients/scenarios over every protocol and
// codec, one protocol after another and the scenarios of each beside each other.
func TestScenarios(t *testing.T) { //nolint:tparallel // one protocol after another: a machine has few cores
	t.Parallel()
	scenarios := loadScenarios(t)
	control := startControl(t)
	exceptions := loadExceptions(t)
	for _, protocol := range []string{"connect", "grpc", "grpc-web"} {
		for _, codec := range []string{"binary", "json"} {
			over := "go " + protocol + " " + codec
			t.Run(protocol+" "+codec, func(t *testing.T) {
				for _, s := range scenarios {
					t.Run(s.Name, func(t *testing.T) {
						t.Parallel()
						if !s.forProtocol(protocol) {
							t.Skip("not for this protocol")
						}
						err := runScenario(t, control, s, transportOptions(protocol, codec)...)
						switch why, excused := exceptions[[2]string{s.Name, over}]; {
						case excused && err == nil:
							t.Errorf("it passes: take it off the list of exceptions (%s)", why)
						case excused:
							t.Skipf("an exception: %s: %v", why, err)
						case err != nil:
							t.Error(err)
						}
					})
				}
			})
		}
	}
}

// transportOptions are how a client speaks. get is added by the runner.
func transportOptions(protocol, codec string) []troupe.Option {
	var options []troupe.Option
	switch protocol {
	case "grpc":
		options = append(options, troupe.WithHTTP2(), troupe.WithConnectOptions(connecthttp.WithGRPC()))
	case "grpc-web":
		options = append(options, troupe.WithConnectOptions(connecthttp.WithGRPCWeb()))
	}
	if codec == "json" {
		options = append(options, troupe.WithConnectOptions(connecthttp.WithProtoJSON()))
	}
	return options
}

func runScenario(t *testing.T, control string, s *scenario, options ...troupe.Option) error {
	t.Helper()
	settings := s.Server
	if settings == nil {
		settings = map[string]any{}
	}
	made, err := newRun(t, control, settings)
	if err != nil {
		return err
	}
	defer made.remove(t)
	get := append(slices.Clone(options), troupe.WithConnectOptions(connecthttp.WithHTTPGet()))
	p := &performance{
		run:    made,
		client: troupe.Dial(made.url, options...), direct: troupe.Dial(made.direct, options...), getter: troupe.Dial(made.url, get...),
		handles: make(map[string]*stageHandle), connections: make(map[string]*recording),
		calls: make(map[string]*pendingCall), saved: make(map[string]string),
	}
	defer p.end()
	for i := range s.Steps {
		ctx, cancel := context.WithTimeout(t.Context(), stepTime)
		err := p.perform(ctx, t.Context(), &s.Steps[i])
		cancel()
		if err != nil {
			return &stepError{i + 1, s.Steps[i].Do, err}
		}
	}
	return nil
}

// stageRun is a server of the scenarios' server, behind a network that breaks.
type stageRun struct {
	control     string // what its acts are asked of
	url, direct string // through the network, and past it
}

func newRun(t *testing.T, control string, settings map[string]any) (*stageRun, error) {
	t.Helper()
	answer, err := post(t.Context(), control+"/runs", settings)
	if err != nil {
		return nil, err
	}
	var made struct{ ID, URL, Direct string }
	if err := json.Unmarshal(answer, &made); err != nil {
		return nil, err
	}
	return &stageRun{control + "/runs/" + made.ID, made.URL, made.Direct}, nil
}

// act does what a step of a scenario does to the network or the server.
func (r *stageRun) act(ctx context.Context, act string) error {
	_, err := post(ctx, r.control+"/"+act, nil)
	return err
}

func (r *stageRun) remove(t *testing.T) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodDelete, r.control, http.NoBody)
	if err != nil {
		t.Error(err)
		return
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Error(err)
		return
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusNoContent {
		t.Errorf("the run did not end in good order: %s, %v", response.Status, err)
	}
}

// stepError says which step of a scenario failed.
type stepError struct {
	number int
	do     string
	err    error
}

func (e *stepError) Error() string {
	return fmt.Sprintf("step %d (%s): %v", e.number, e.do, e.err)
}

func (e *stepError) Unwrap() error { return e.err }

// loadScenarios reads every file. A field that this runner does not know is an
// error.
func loadScenarios(t *testing.T) []*scenario {
	t.Helper()
	paths, err := filepath.Glob("../scenarios/list/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	var all []*scenario
	for _, path := range paths {
		var file struct {
			About     string      `json:"about"`
			Scenarios []*scenario `json:"scenarios"`
		}
		decodeFile(t, path, &file)
		all = append(all, file.Scenarios...)
	}
	return all
}

// loadExceptions returns why a scenario cannot be passed, by its name and the run.
func loadExceptions(t *testing.T) map[[2]string]string {
	t.Helper()
	var list []struct {
		Name string   `json:"name"`
		Why  string   `json:"why"`
		Over []string `json:"over"`
	}
	decodeFile(t, "scenarios.exceptions.json", &list)
	t.Logf("exceptions: %v", list)
	exceptions := make(map[[2]string]string)
	for _, exception := range list {
		for _, over := range exception.Over {
			exceptions[[2]string{exception.Name, over}] = exception.Why
		}
	}
	return exceptions
}

func decodeFile(t *testing.T, path string, into any) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// startControl starts the scenarios' server; it ends with the test.
func startControl(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), program.Build(t, "github.com/troupe-dev/troupe/clients/scenarios/server"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadBytes('\n')
	t.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, lines)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	var said struct{ Control string }
	if err != nil || json.Unmarshal(line, &said) != nil {
		t.Fatalf("the scenarios' server said %q: %v", line, err)
	}
	return said.Control
}
