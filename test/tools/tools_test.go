// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package tools_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/troupe-dev/troupe/test/program"
)

const module = "github.com/troupe-dev/troupe"

func TestGrpcurl(t *testing.T) {
	t.Parallel()
	modfile, err := filepath.Abs("../../tools/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	grpcurl := program.Build(t, "github.com/fullstorydev/grpcurl/cmd/grpcurl", "-modfile="+modfile)
	s := program.Start(t, program.Build(t, module+"/examples/counter"), t.TempDir())
	address := strings.TrimPrefix(s.URL, "http://")

	services := run(t, grpcurl, "-plaintext", address, "list")
	for _, want := range []string{"counter.v1.Counter", "troupe.v1.ActorService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} {
		if !strings.Contains(services, want) {
			t.Errorf("list does not name %s:\n%s", want, services)
		}
	}
	if schema := run(t, grpcurl, "-plaintext", address, "describe", "counter.v1.Counter"); !strings.Contains(schema, "rpc Increment") {
		t.Errorf("describe says:\n%s", schema)
	}
	reply := run(t, grpcurl, "-plaintext", "-H", "actor-key: demo", "-d", `{"amount":5}`, address, "counter.v1.Counter/Increment")
	if !strings.Contains(reply, `"count": "5"`) {
		t.Errorf("Increment says:\n%s", reply)
	}
	if health := run(t, grpcurl, "-plaintext", address, "grpc.health.v1.Health/Check"); !strings.Contains(health, "SERVING") {
		t.Errorf("Check says:\n%s", health)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream := exec.CommandContext(ctx, grpcurl, "-plaintext", "-H", "actor-key: demo", "-d", "{}", address, "counter.v1.Counter/Subscribe")
	output, err := stream.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	waitFor(t, lines, `"opened"`)
	run(t, grpcurl, "-plaintext", "-H", "actor-key: demo", "-d", `{"amount":2}`, address, "counter.v1.Counter/Increment")
	waitFor(t, lines, `"countChanged"`)
	waitFor(t, lines, `"count": "7"`)
	cancel()
	_ = stream.Wait() // cancelled
}

func TestCurl(t *testing.T) {
	t.Parallel()
	s := program.Start(t, program.Build(t, module+"/examples/counter"), t.TempDir())
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"--json", `{"amount":5}`, "-H", "actor-key: demo", s.URL + "/counter.v1.Counter/Increment"}, `{"count":"5"}`},
		{[]string{"--json", `{"amount":2}`, s.URL + "/actors/default/demo/@/counter.v1.Counter/Increment"}, `{"count":"7"}`},
		{[]string{"--json", `{}`, "-H", "actor-key: demo", s.URL + "/counter.v1.Counter/Get"}, `{"count":"7"}`},
		{[]string{"-G", "--data-urlencode", "message={}", "-d", "encoding=json", "-d", "connect=v1", s.URL + "/actors/default/demo/@/counter.v1.Counter/Get"}, `{"count":"7"}`},
	} {
		reply := run(t, "curl", append([]string{"-sS"}, step.args...)...)
		var compact bytes.Buffer // the encoder's spaces vary on purpose
		if err := json.Compact(&compact, []byte(reply)); err != nil || compact.String() != step.want {
			t.Errorf("curl %q says %s, %v; want %s", step.args, reply, err, step.want)
		}
	}
	failed := run(t, "curl", "-sS", "--json", `{"amount":5}`, "-H", "actor-key: demo", s.URL+"/counter.v1.Counter/Fail")
	for _, want := range []string{`"failed_precondition"`, `"always_fails"`, `"OUTCOME_NOT_EXECUTED"`} {
		if !strings.Contains(failed, want) {
			t.Errorf("Fail does not say %s: %s", want, failed)
		}
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", filepath.Base(name), args, err, out, stderr.String())
	}
	return string(out)
}

// waitFor reads lines until one contains text. The test's deadline bounds it.
func waitFor(t *testing.T, lines *bufio.Scanner, text string) {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return
		}
	}
	t.Fatalf("the stream ended before %s: %v", text, lines.Err())
}
