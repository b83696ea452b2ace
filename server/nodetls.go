// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"time"
)

// minClusterSecret is how many bytes a cluster secret has at least: who reaches the
// node listener can look for a shorter one.
const minClusterSecret = 32

// ClusterSecret returns TLS for [Cluster] that is made from a secret which all nodes
// have in common, of 32 bytes at least: a random one, because who sees a node's
// certificate can try secrets.
//
// Each node makes the same key of it, and a certificate for that key, and takes no
// other: so that both ends of a connection have proved that they know the secret
// before a byte of a request is sent, and neither shows it.
//
// A node shows the key of secret, and takes those of the others too: so that a secret
// can be replaced while the nodes are restarted one by one.
func ClusterSecret(secret string, others ...string) (*tls.Config, error) {
	key, err := clusterKey(secret)
	if err != nil {
		return nil, err
	}
	public, _ := key.Public().(ed25519.PublicKey) // always
	known := []ed25519.PublicKey{public}
	for _, other := range others {
		key, err := clusterKey(other)
		if err != nil {
			return nil, err
		}
		public, _ := key.Public().(ed25519.PublicKey)
		known = append(known, public)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Unix(0, 0),
		NotAfter:     time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate of the cluster secret: %w", err)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:         tls.RequireAnyClientCert,
		InsecureSkipVerify: true, //nolint:gosec // no authority vouches for the key: VerifyConnection knows it
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) > 0 {
				theirs, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
				if ok && slices.ContainsFunc(known, func(one ed25519.PublicKey) bool { return one.Equal(theirs) }) {
					return nil
				}
			}
			return errForeignNode
		},
	}, nil
}

// clusterKey makes the key of a secret.
func clusterKey(secret string) (ed25519.PrivateKey, error) {
	if len(secret) < minClusterSecret {
		return nil, fmt.Errorf("a cluster secret has %d bytes at least: make one by openssl rand -hex 32", minClusterSecret)
	}
	seed, err := hkdf.Key(sha256.New, []byte(secret), nil, "troupe cluster key", ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("make a key of the cluster secret: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

var errForeignNode = errors.New("the other side has another cluster secret, or none")

// ClusterCertificates returns TLS for [Cluster] out of files in PEM: a node's
// certificate chain and key, and the authorities that vouch for all nodes. A
// certificate must name the host that the node is advertised under.
func ClusterCertificates(certFile, keyFile, caFile string) (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	authorities, err := os.ReadFile(caFile) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authorities) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}, nil
}
