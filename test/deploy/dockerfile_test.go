// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
)

const dockerfile = "deploy/Dockerfile"

// noRegistry answers for the base images, which say nothing here.
type noRegistry struct{}

func (noRegistry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, "", []byte(`{"architecture": "amd64", "os": "linux"}`), nil
}

// TestDockerfileLint holds that the checks of docker build find nothing.
func TestDockerfileLint(t *testing.T) {
	t.Parallel()
	text := []byte(read(t, dockerfile))
	source := llb.NewSourceMap(nil, dockerfile, "Dockerfile", text)
	source.Definition = new(llb.Definition)
	found, err := dockerfile2llb.DockerfileLint(t.Context(), text, dockerfile2llb.ConvertOpt{SourceMap: source, MetaResolver: noRegistry{}})
	if err != nil {
		t.Fatal(err)
	}
	if found.Error != nil {
		t.Error(found.Error.Message)
	}
	for _, warning := range found.Warnings {
		t.Errorf("%s: %s: %v", warning.RuleName, warning.Detail, warning.Location.GetRanges())
	}
}

// image is the Dockerfile as docker build reads it.
type image struct {
	args          map[string]string // the defaults
	build, result instructions.Stage
}

func readImage(t *testing.T) image {
	t.Helper()
	tree, err := parser.Parse(strings.NewReader(read(t, dockerfile)))
	if err != nil {
		t.Fatal(err)
	}
	stages, args, err := instructions.Parse(tree.AST, nil)
	if err != nil || len(stages) != 2 {
		t.Fatalf("%d stages: %v", len(stages), err)
	}
	i := image{args: make(map[string]string), build: stages[0], result: stages[1]}
	for _, arg := range slices.Concat(args, commands[*instructions.ArgCommand](stages[0], func(c *instructions.ArgCommand) instructions.ArgCommand { return *c })) {
		for _, pair := range arg.Args {
			i.args[pair.Key] = pair.ValueString()
		}
	}
	return i
}

// commands returns the commands of one type in a stage.
func commands[C instructions.Command, R any](stage instructions.Stage, as func(C) R) []R {
	var all []R
	for _, command := range stage.Commands {
		if c, ok := command.(C); ok {
			all = append(all, as(c))
		}
	}
	return all
}

var (
	goImage   = regexp.MustCompile(`^golang:(\d+\.\d+)\.\d+-[a-z]+$`)
	baseImage = regexp.MustCompile(`^gcr\.io/distroless/static-debian\d+:nonroot$`)
	goVersion = regexp.MustCompile(`(?m)^go (\d+\.\d+)`)
)

// TestDockerfile holds the image against the files that use it.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	i := readImage(t)
	if found := goImage.FindStringSubmatch(i.args["GO_IMAGE"]); found == nil || found[1] != goVersion.FindStringSubmatch(read(t, "go.mod"))[1] {
		t.Errorf("%s is no exact version of the Go of go.mod", i.args["GO_IMAGE"])
	}
	if !baseImage.MatchString(i.args["BASE_IMAGE"]) {
		t.Errorf("%s has more than a static program needs, or runs as root", i.args["BASE_IMAGE"])
	}
	wantSame(t, "base image", i.result.BaseName, "${BASE_IMAGE}")
	text := func(c fmt.Stringer) string { return c.String() }
	wantSame(t, "user", fmt.Sprint(commands(i.result, func(c *instructions.UserCommand) string { return text(c) })), "[USER 65532:65532]")
	wantSame(t, "entry point", fmt.Sprint(commands(i.result, func(c *instructions.EntrypointCommand) []string { return c.CmdLine })), "[[/server]]")

	e := make(environment)
	for _, command := range commands(i.result, func(c *instructions.EnvCommand) *instructions.EnvCommand { return c }) {
		for _, pair := range command.Env {
			e[pair.Key] = pair.Value
		}
	}
	e.with(chatPassword, "as docker run says").check(t)
	for _, node := range composeNodes(compose(t)) {
		open := commands(i.result, func(c *instructions.ExposeCommand) []string { return c.Ports })
		wantEach(t, node.Name+": ports", slices.Concat(open...), environmentOf(node).port(t, "TROUPE_LISTEN"), environmentOf(node).port(t, "TROUPE_CLUSTER_LISTEN"))
		wantSame(t, node.Name+": port", environmentOf(node).port(t, "TROUPE_LISTEN"), e.port(t, "TROUPE_LISTEN"))
		wantSame(t, node.Name+": Dockerfile", filepath.Join(root, "deploy", "..", node.Build.Dockerfile), filepath.Join(root, dockerfile))
	}
	pod, container := kubernetes(t).pod()
	wantSame(t, "user of the pod", *pod.SecurityContext.RunAsUser, 65532)
	wantSame(t, "port of the pod", podEnvironment(t, container).port(t, "TROUPE_LISTEN"), e.port(t, "TROUPE_LISTEN"))
}

// TestImageBuilds runs what the Dockerfile runs, on what .dockerignore leaves of the
// tree: the programs are there, and need nothing that the base image lacks. The server's
// program is the smallest there is, since the flags have it and all it imports compiled
// anew; that nothing is missing for the others is listed.
func TestImageBuilds(t *testing.T) {
	t.Parallel()
	i := readImage(t)
	source, out := t.TempDir(), t.TempDir()
	copyContext(t, source)
	script := commands(i.build, func(c *instructions.RunCommand) string { return strings.Join(c.CmdLine, " ") })
	last := strings.ReplaceAll(script[len(script)-1], "/out/", out+"/")
	cmd := exec.CommandContext(t.Context(), "sh", "-c", last)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "MAIN=./deploy/probe", "TARGETOS=linux", "TARGETARCH=amd64", "GOFLAGS=-buildvcs=false -mod=readonly")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", last, err, text)
	}
	for _, name := range []string{"server", "probe"} {
		file, err := elf.Open(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 || slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			t.Errorf("%s is not static: %v, %v", name, libraries, err)
		}
		_ = file.Close()
	}

	in := programs(t, source)
	wantSame(t, "programs in the context", in, programs(t, root))
	if main := strings.TrimPrefix(i.args["MAIN"], "."); !strings.Contains(in, main+"\n") {
		t.Errorf("%s is none of %s", main, in)
	}
}

// programs lists the main packages of a tree that have all that they need.
func programs(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`, "./...")
	cmd.Dir = dir
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v", dir, err)
	}
	return string(text)
}

// copyContext copies what docker build is sent.
func copyContext(t *testing.T, to string) {
	t.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, dockerfile+".dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	tree := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard")
	tree.Dir = root
	list, err := tree.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	files := 0
	for name := range strings.Lines(string(list)) {
		name = strings.TrimSpace(name)
		out, err := ignored.MatchesOrParentMatches(name)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(filepath.Join(root, name)); out || err != nil || !info.Mode().IsRegular() {
			continue
		}
		files++
		write(t, filepath.Join(to, name), read(t, name))
	}
	t.Logf("%d files are sent to the build", files)
}
