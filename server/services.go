// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"connectrpc.com/connect/v2"
)

// otherServices are the procedures of Connect services that are not actors: what the
// program that runs the server has registered by [Config.Services]. It is filled
// before the first call.
type otherServices map[string]bool

// register has the program register its services.
func (s otherServices) register(rpc *connect.Server, register func(*connect.Server)) (err error) {
	if register == nil {
		return nil
	}
	defer func() {
		if value := recover(); value != nil { // how a connect.Server reports a procedure that is taken
			err = fmt.Errorf("field Services: %v", value)
		}
	}()
	ours := make(map[string]bool)
	for spec := range rpc.Specs() {
		ours[spec.Procedure] = true
	}
	register(rpc)
	for spec := range rpc.Specs() {
		if !ours[spec.Procedure] {
			s[spec.Procedure] = true
		}
	}
	return nil
}

// verdict makes what a caller of such a service sees of an error: what Connect or the
// service made for callers passes as it is.
func (otherServices) verdict(ctx context.Context, log *slog.Logger, procedure string, err error) error {
	if wire, ok := errors.AsType[*connect.Error](err); ok && !wire.IsRemote() {
		return wire
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err // Connect has a code for it
	}
	return verdict(ctx, log, procedure, err)
}
