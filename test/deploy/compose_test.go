// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"k8s.io/apimachinery/pkg/api/resource"
)

// composeSecrets are what the compose file wants to be told.
var composeSecrets = map[string]string{
	"POSTGRES_PASSWORD": strings.Repeat("p", 64),
	"CLUSTER_SECRET":    strings.Repeat("c", 64),
	"CHAT_PASSWORD":     strings.Repeat("w", 64),
}

// loadCompose reads the compose file as docker compose does, with its schema.
func loadCompose(t *testing.T, secrets map[string]string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "deploy/compose.yaml")}, cli.WithEnv(environment(secrets).list()))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

func compose(t *testing.T) *types.Project {
	t.Helper()
	project, err := loadCompose(t, composeSecrets)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// composeNodes returns the services that are nodes, by name.
func composeNodes(project *types.Project) []types.ServiceConfig {
	var nodes []types.ServiceConfig
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		if service := project.Services[name]; service.Build != nil {
			nodes = append(nodes, service)
		}
	}
	return nodes
}

// environmentOf returns the variables of a service.
func environmentOf(service types.ServiceConfig) environment {
	e := make(environment)
	for name, value := range service.Environment {
		if value != nil {
			e[name] = *value
		}
	}
	return e
}

// TestComposeWantsItsSecrets holds that the compose file has no secret of its own.
func TestComposeWantsItsSecrets(t *testing.T) {
	t.Parallel()
	for name := range composeSecrets {
		others := maps.Clone(composeSecrets)
		delete(others, name)
		if _, err := loadCompose(t, others); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// TestComposeFile holds the compose file against the program and its parts against
// each other.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	project := compose(t)
	nodes := composeNodes(project)
	wantSame(t, "nodes", len(nodes), 3)
	for _, node := range nodes {
		e := environmentOf(node)
		e.check(t)

		listen := e.port(t, "TROUPE_LISTEN")
		wantSame(t, node.Name+": advertised", e["TROUPE_CLUSTER_ADVERTISE"], net.JoinHostPort(node.Name, e.port(t, "TROUPE_CLUSTER_LISTEN")))
		wantSame(t, node.Name+": ports", len(node.Ports), 1)
		wantSame(t, node.Name+": published to the machine alone", node.Ports[0].HostIP, "127.0.0.1")
		wantSame(t, node.Name+": published port", strconv.Itoa(int(node.Ports[0].Target)), listen)
		check := node.HealthCheck.Test
		wantSame(t, node.Name+": health check", strings.Join(check, " "), "CMD /probe http://127.0.0.1:"+listen+"/readyz")

		grace := e.duration(t, "TROUPE_GRACE_PERIOD")
		if stop := node.StopGracePeriod; stop == nil || time.Duration(*stop) <= grace {
			t.Errorf("%s: it is killed after %v, and may take %v", node.Name, stop, grace)
		}
		if e.duration(t, "TROUPE_LAME_DUCK") >= grace {
			t.Errorf("%s: nothing is left of the time to stop", node.Name)
		}
		wantSame(t, node.Name+": GOMEMLIMIT in tenths of mem_limit", tenths(t, e["GOMEMLIMIT"], resource.NewQuantity(int64(node.MemLimit), resource.BinarySI)), 8)
		wantEach(t, node.Name+": cap_drop", node.CapDrop, "ALL")
		wantEach(t, node.Name+": security_opt", node.SecurityOpt, "no-new-privileges:true")
		wantSame(t, node.Name+": read only", node.ReadOnly, true)
		wantSame(t, node.Name+": waits for the database", node.DependsOn["postgres"].Condition, types.ServiceConditionHealthy)
		for name, value := range e {
			if file, ok := strings.CutPrefix(value, "/run/secrets/"); ok && !hasSecret(node, file) {
				t.Errorf("%s: %s is a file that it does not have", node.Name, name)
			}
		}

		database, err := url.Parse(e["TROUPE_DATABASE_URL"])
		if err != nil {
			t.Fatal(err)
		}
		postgres := environmentOf(project.Services[database.Hostname()])
		password, _ := database.User.Password()
		wantSame(t, "user", database.User.Username(), postgres["POSTGRES_USER"])
		wantSame(t, "password", password, postgres["POSTGRES_PASSWORD"])
		wantSame(t, "database", strings.TrimPrefix(database.Path, "/"), postgres["POSTGRES_DB"])
	}
	postgres := project.Services["postgres"]
	wantSame(t, "postgres: ports that others reach", len(postgres.Ports), 0)
	wantSame(t, "postgres: volumes", len(postgres.Volumes), 1)
	if _, ok := project.Volumes[postgres.Volumes[0].Source]; !ok {
		t.Error("the database has no volume of a name")
	}
	wantEach(t, "postgres: health check", postgres.HealthCheck.Test, "pg_isready")
}

func hasSecret(service types.ServiceConfig, name string) bool {
	return slices.ContainsFunc(service.Secrets, func(s types.ServiceSecretConfig) bool { return s.Source == name })
}
