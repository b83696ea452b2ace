// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"context"

	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/protobuf/proto"
)

// beforeConnect runs the hook that may refuse a caller before anything is made. It
// runs on a goroutine of its own, which its caller can leave: a hook may ignore its
// context, and one that calls [runtime.Goexit] must not take along a goroutine of the
// runtime.
func beforeConnect(ctx context.Context, typ *actorType, call *Call, params proto.Message) error {
	hook := typ.hooks.beforeConnect
	if hook == nil {
		return nil
	}
	attempt := Attempt{Namespace: call.Address.Namespace, Subject: call.Subject, Internal: call.Internal, host: call.host}
	if call.ID.IsZero() {
		attempt.Key, _ = wire.DecodeKey(call.Address.Key) // canonical already
	}
	if call.Info != nil {
		attempt.Header = call.Info.RequestHeader()
	}
	limit := typ.limits.hooks.Connect
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := error(goexit())
		defer func() { done <- err }()
		err = protect(func() error { return hook(bounded, attempt, params) })
	}()
	var err error
	select {
	case err = <-done:
	case <-bounded.Done():
	}
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case bounded.Err() != nil:
		return hookTimeout("before-connect", limit)
	}
	return err
}
