// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// clusterSettings is what the flags say about a database and other nodes.
type clusterSettings struct {
	databaseURL, databaseSchema string
	unsafeDurability            bool

	listen, advertise  string
	secret, secretFile string
	cert, key, ca      string
	version            uint64
	labels             []string
	lameDuck           time.Duration
}

// databaseFlags declares those that say where the database is.
func (s *clusterSettings) databaseFlags(f *flag.FlagSet) {
	f.StringVar(&s.databaseURL, "database-url", "", "PostgreSQL `URL` that keeps the actors, instead of -data-dir: several nodes can share it")
	f.StringVar(&s.databaseSchema, "database-schema", "troupe", "`name` of the database's schema; made if absent")
	f.BoolVar(&s.unsafeDurability, "unsafe-durability", false, "accept a database that may lose what it has acknowledged")
}

func (s *clusterSettings) flags(f *flag.FlagSet) {
	s.databaseFlags(f)
	f.StringVar(&s.listen, "cluster-listen", "", "`address` to listen on for other nodes; without it the node is alone")
	f.StringVar(&s.advertise, "cluster-advertise", "", "host:port under which `others` reach -cluster-listen, if that does not say it")
	f.StringVar(&s.secret, "cluster-secret", "", "`secret` of 32 bytes at least that all nodes know; better in the environment or a file; others that are taken too on further lines")
	f.StringVar(&s.secretFile, "cluster-secret-file", "", "`file` that holds the cluster secret, and others that are taken too on further lines")
	f.StringVar(&s.cert, "cluster-cert", "", "certificate chain `file` (PEM) of this node, instead of a secret")
	f.StringVar(&s.key, "cluster-key", "", "private key `file` (PEM) of -cluster-cert")
	f.StringVar(&s.ca, "cluster-ca", "", "`file` (PEM) of the authorities that vouch for all nodes")
	f.Uint64Var(&s.version, "cluster-version", 0, "`number` that orders the versions of the program: actors go to nodes of the highest")
	f.Var(list{&s.labels}, "cluster-labels", "comma-separated key=value `pairs` that describe the node")
	f.DurationVar(&s.lameDuck, "lame-duck", 5*time.Second, "`time` that a node goes on before it hands over, for balancers to notice; 0 on SIGINT")
}

// finish checks what the flags say together.
func (s *clusterSettings) finish() error {
	ways := 0
	for _, set := range []bool{s.secret != "", s.secretFile != "", s.cert != "" || s.key != "" || s.ca != ""} {
		if set {
			ways++
		}
	}
	switch {
	case s.databaseURL == "" && (s.listen != "" || ways > 0):
		return errors.New("-cluster-listen and the like need a -database-url: the embedded store serves one process")
	case s.databaseURL == "":
		return nil
	case ways > 1:
		return errors.New("-cluster-secret, -cluster-secret-file and -cluster-cert exclude each other")
	case s.listen != "" && ways == 0:
		return errors.New("-cluster-listen needs a -cluster-secret-file, a -cluster-secret or a -cluster-cert")
	case ways > 0 && s.listen == "":
		return errors.New("a cluster secret or certificate needs a -cluster-listen")
	}
	if s.advertise != "" {
		if _, _, err := net.SplitHostPort(s.advertise); err != nil {
			return fmt.Errorf("-cluster-advertise: %w", err)
		}
	}
	_, err := s.labelMap()
	return err
}

func (s *clusterSettings) labelMap() (map[string]string, error) {
	labels := make(map[string]string, len(s.labels))
	for _, pair := range s.labels {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("-cluster-labels: %q is not key=value", pair)
		}
		labels[key] = value
	}
	return labels, nil
}

// tls makes what nodes know each other by. A node that is alone has a secret of its
// own.
func (s *clusterSettings) tls() (*tls.Config, error) {
	switch {
	case s.cert != "" || s.key != "" || s.ca != "":
		secure, err := ClusterCertificates(s.cert, s.key, s.ca)
		if err != nil {
			return nil, fmt.Errorf("-cluster-cert, -cluster-key and -cluster-ca: %w", err)
		}
		return secure, nil
	case s.secretFile != "":
		data, err := os.ReadFile(s.secretFile)
		if err != nil {
			return nil, fmt.Errorf("-cluster-secret-file: %w", err)
		}
		return clusterSecrets("-cluster-secret-file", string(data))
	case s.secret != "":
		return clusterSecrets("-cluster-secret", s.secret)
	}
	return ClusterSecret(rand.Text() + rand.Text())
}

// clusterSecrets makes TLS of secrets on lines of their own, the node's own one first.
func clusterSecrets(name, text string) (*tls.Config, error) {
	var secrets []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			secrets = append(secrets, line)
		}
	}
	if len(secrets) == 0 {
		return nil, fmt.Errorf("%s holds no secret: make one by openssl rand -hex 32", name)
	}
	secure, err := ClusterSecret(secrets[0], secrets[1:]...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return secure, nil
}

// listenAddress is where the node listens for others.
func (s *clusterSettings) listenAddress() string {
	if s.listen == "" {
		return "127.0.0.1:0"
	}
	return s.listen
}

// advertised is where others reach a listener.
func (s *clusterSettings) advertised(bound net.Addr) (string, error) {
	if s.advertise != "" {
		return s.advertise, nil
	}
	address, err := netip.ParseAddrPort(bound.String())
	if err != nil || address.Addr().IsUnspecified() {
		return "", fmt.Errorf("-cluster-listen %s is every address of the machine: say by -cluster-advertise where others reach it", s.listen)
	}
	return address.String(), nil
}
