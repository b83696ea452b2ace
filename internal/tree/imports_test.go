// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"go/parser"
	"go/token"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/troupe-dev/troupe/"

// ours says which of our packages a package may import, besides itself and gen. A
// row covers the packages below its folder too; the longest row that fits counts,
// and so it is with what it lists.
var ours = map[string][]string{
	"internal":               {},
	"internal/sim":           {"actors/placement", "internal"}, // a simulation: only tests import it
	"actors/store":           {},
	"actors/store/embedded":  {"actors/store", "internal"},
	"actors/store/postgres":  {"actors/store", "internal"},
	"actors/store/storetest": {"actors/store", "internal"},
	"actors/placement":       {"internal"},
	"actors":                 {"actors/store", "actors/placement", "internal"},
	"actors/actorstest":      {"server", "clients/go", "actors", "actors/store", "actors/store/embedded", "actors/store/storetest"}, // a kit of the whole house: only tests import it
	"server":                 {"actors", "actors/placement", "actors/placement/cluster", "actors/placement/postgres", "actors/store", "actors/store/embedded", "actors/store/postgres", "internal"},
	"clients/go":             {"internal"},
	"clients/scenarios":      {"."},
	"cmd":                    {"."},
	"deploy":                 {}, // what images need besides the server
	"examples":               {"."},
	"bench":                  {"."},
	"test":                   {"."},
}

// theirs says where a module of others may be imported: in our packages that are
// named here, and below them. A module that is not here is a decision to take.
var theirs = map[string][]string{
	"buf.build/gen/go/bufbuild/protovalidate":   {"server"},
	"buf.build/go/protovalidate":                {"server"},
	"connectrpc.com/connect/v2":                 {"."},
	"connectrpc.com/cors":                       {"server"},
	"connectrpc.com/grpcreflect/v2":             {"server"},
	"github.com/cockroachdb/pebble/v2":          {"actors/store/embedded"},
	"github.com/jackc/pgx/v5":                   {"actors/store/postgres", "actors/placement/postgres"},
	"github.com/netresearch/go-cron":            {"actors"},
	"github.com/rs/cors":                        {"server"},
	"golang.org/x/sys":                          {"actors/store/embedded", "server", "bench"},
	"google.golang.org/genproto/googleapis/rpc": {"actors", "server", "clients/go"},
	"google.golang.org/protobuf":                {"."},
}

// theirsInTests are the further modules of tests and of the packages that are test
// kits.
var (
	theirsInTests = map[string][]string{
		"buf.build/gen/go/bufbuild/protovalidate":   {"clients/go"},
		"buf.build/go/protovalidate":                {"clients/go"},
		"github.com/anishathalye/porcupine":         {"test/history"},
		"github.com/coder/websocket":                {"server", "clients/go", "clients/scenarios"},
		"github.com/compose-spec/compose-go/v2":     {"test/deploy"},
		"github.com/google/go-cmp":                  {"."},
		"github.com/moby/buildkit":                  {"test/deploy"},
		"github.com/moby/patternmatcher":            {"test/deploy"},
		"github.com/opencontainers/go-digest":       {"test/deploy"},
		"github.com/santhosh-tekuri/jsonschema/v6":  {"server"},
		"go.uber.org/goleak":                        {"."},
		"google.golang.org/genproto/googleapis/rpc": {"test/tools"},
		"google.golang.org/grpc":                    {"test/tools"},
		"k8s.io/api":                                {"test/deploy"},
		"k8s.io/apimachinery":                       {"test/deploy"},
		"pgregory.net/rapid":                        {"."},
	}
	testKits = []string{"actors/store/storetest", "actors/placement/placementtest", "actors/actorstest", "clients/scenarios", "test"}
)

// never lists what a package must not even reach through others.
var never = map[string][]string{
	"actors":       {"net/http", "database/sql", "github.com/cockroachdb/pebble/v2", module + "server"},
	"actors/store": {"net/http", "database/sql", module + "actors", module + "gen/go/troupe/v1"},
}

func TestImportMap(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if !f.is(".go") || strings.HasPrefix(f.path, "gen/") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.path, f.text, parser.ImportsOnly)
		if err != nil {
			t.Errorf("parse: %v", err)
			continue
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := refuse(f, imported); why != "" {
				t.Errorf("%s: imports %s: %s", f.path, imported, why)
			}
		}
	}
}

// refuse says why f may not import a package, or nothing.
func refuse(f file, imported string) string {
	dir := path.Dir(f.path)
	if local, ok := strings.CutPrefix(imported, module); ok {
		row := longest(ours, dir)
		switch {
		case strings.HasPrefix(local, "gen/"), local == dir, f.test():
			return ""
		case row == "":
			return "the import map (ours) has no row for " + dir
		case !slices.Contains(ours[row], ".") && !slices.Contains(ours[row], longest(ours, local)) && longest(ours, local) != row:
			return "the import map (ours) does not let " + row + " import it"
		}
		return ""
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return ""
	}
	places := theirs[longest(theirs, imported)]
	if f.test() || slices.ContainsFunc(testKits, func(kit string) bool { return within(dir, kit) }) {
		places = append(slices.Clone(places), theirsInTests[longest(theirsInTests, imported)]...)
	}
	switch {
	case len(places) == 0:
		return "the import map (theirs) has no row for it"
	case !slices.ContainsFunc(places, func(place string) bool { return within(dir, place) }):
		return "the import map (theirs) keeps it to " + strings.Join(places, ", ")
	}
	return ""
}

func TestNeverReached(t *testing.T) {
	t.Parallel()
	for dir, banned := range never {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+dir).Output()
		if err != nil {
			t.Errorf("go list -deps %s: %v", dir, err)
			continue
		}
		reached := strings.Fields(string(out))
		for _, pkg := range banned {
			if slices.Contains(reached, pkg) {
				t.Errorf("%s reaches %s", dir, pkg)
			}
		}
	}
}

// longest returns the longest key of table that is pkg or a folder above it.
func longest(table map[string][]string, pkg string) string {
	var found string
	for key := range table {
		if within(pkg, key) && len(key) > len(found) {
			found = key
		}
	}
	return found
}

func within(pkg, dir string) bool {
	return dir == "." || pkg == dir || strings.HasPrefix(pkg, dir+"/")
}
