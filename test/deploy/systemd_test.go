// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

const (
	unitFile   = "deploy/troupe.service"
	dropInFile = "deploy/troupe-cluster.conf"
)

// unit is the settings of unit files, of which a setting that comes again adds to what
// there is.
type unit map[string][]string

func readUnits(t *testing.T, paths ...string) unit {
	t.Helper()
	u := make(unit)
	for _, path := range paths {
		for line := range strings.Lines(read(t, path)) {
			name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
			if ok && !strings.HasPrefix(line, "#") {
				u[name] = append(u[name], value)
			}
		}
	}
	return u
}

func (u unit) duration(t *testing.T, name string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(strings.Join(u[name], ""))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return d
}

// environment returns the variables of the process; what is in /etc is not known here.
func (u unit) environment() environment {
	e := make(environment)
	for _, pair := range u["Environment"] {
		name, value, _ := strings.Cut(pair, "=")
		e[name] = value
	}
	return e
}

// TestSystemdFiles holds the unit and its drop-in against the program.
func TestSystemdFiles(t *testing.T) {
	t.Parallel()
	alone, node := readUnits(t, unitFile), readUnits(t, unitFile, dropInFile)
	e := alone.environment()
	e.check(t)
	wantSame(t, "alone it is reached from other machines", e.exposed(t, "TROUPE_LISTEN"), false)
	wantSame(t, "alone it believes the proxy of its machine", e["TROUPE_TRUSTED_PROXIES"], "127.0.0.1")
	if e[chatPassword] == "" {
		t.Error("alone it asks nobody who comes from its machine for a password")
	}
	memory := resource.MustParse(alone["MemoryMax"][0] + "i") // systemd's G is the 1,024 of the kernel
	wantSame(t, "GOMEMLIMIT in tenths of MemoryMax", tenths(t, e["GOMEMLIMIT"], &memory), 8)
	wantSame(t, "directory", strings.TrimPrefix(e["TROUPE_DATA_DIR"], "%S/"), alone["StateDirectory"][0])

	e = node.environment()
	for _, inEtc := range []string{"TROUPE_DATABASE_URL", "TROUPE_CLUSTER_LISTEN"} {
		if !strings.Contains(read(t, dropInFile), inEtc+"=") {
			t.Errorf("the drop-in does not say where %s belongs", inEtc)
		}
		e = e.with(inEtc, "127.0.0.1:7400")
	}
	e.check(t)
	for _, credential := range node["LoadCredential"] {
		name, _, _ := strings.Cut(credential, ":")
		if e[chatPassword] != "%d/"+name && e["TROUPE_CLUSTER_SECRET_FILE"] != "%d/"+name {
			t.Errorf("the credential %s is not used", name)
		}
	}
	for name, value := range e {
		if file, ok := strings.CutPrefix(value, "%d/"); ok {
			wantEach(t, name, node["LoadCredential"], file+":/etc/troupe/"+file)
		}
	}
	if stop, grace := node.duration(t, "TimeoutStopSec"), e.duration(t, "TROUPE_GRACE_PERIOD"); stop <= grace {
		t.Errorf("it is killed after %s, and may take %s", stop, grace)
	}
	wantSame(t, "a program that sends no notification", node["Type"][0], "exec")
}

// mostExposed is ten times the exposure from which systemd calls a service less than
// well kept.
const mostExposed = "15"

// TestSystemdTakesTheFiles has systemd itself read the unit, with the drop-in and
// without.
func TestSystemdTakesTheFiles(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze (Debian: systemd), and scripts/setup installs it where there may be one")
	}
	for _, dropIn := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "troupe.service")
		text := strings.Replace(read(t, unitFile), "/usr/local/bin/troupe", chat(t), 1)
		write(t, path, text)
		if dropIn {
			write(t, path+".d/cluster.conf", read(t, dropInFile))
		}
		out, err := exec.CommandContext(t.Context(), analyze, "--man=no", "verify", path).CombinedOutput()
		if err != nil || strings.Contains(string(out), dir) || strings.Contains(string(out), "troupe.service") {
			t.Errorf("verify: %v: %s", err, out)
		}
		out, err = exec.CommandContext(t.Context(), analyze, "--no-pager", "security", "--offline=true", "--threshold="+mostExposed, path).CombinedOutput()
		if err != nil {
			t.Errorf("security: %v:\n%s", err, out)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
