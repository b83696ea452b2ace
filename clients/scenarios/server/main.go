// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

// Server is what the clients' scenarios run against: real servers with a
// stage each, and networks between them and their clients that break on demand.
//
// It prints one line, {"control": "http://127.0.0.1:PORT"}, and serves until its
// standard input ends, so that it never outlives the runner that started it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve serves until in ends.
func serve(in io.Reader, out io.Writer) error {
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(map[string]string{"control": "http://" + listener.Addr().String()}); err != nil {
		return err
	}
	control := &http.Server{Handler: newControl(certificate).handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = control.Close()
	}()
	if err := control.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
