// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package actors

import (
	"errors"
	"fmt"
	"math"
	"time"

	"connectrpc.com/connect/v2"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
)

// neverSleeps is the idle time of an actor that does not sleep.
const neverSleeps = math.MaxInt64

// NoSleep keeps an actor in memory once it is there, until the server stops. The
// last one of NoSleep and [SleepAfter] counts.
func NoSleep() Option {
	return optionFunc(func(t *actorType) error {
		t.limits.sleepAfter = neverSleeps
		return nil
	})
}

// applySchema applies the options that the service declares. Those of the program
// come after them.
func (t *actorType) applySchema(declared *troupev1.ActorOptions) error {
	var errs []error
	use := func(field string, option Option) {
		if err := option.apply(t); err != nil {
			errs = append(errs, fmt.Errorf("%s: option (troupe.v1.actor).%s: %w", t.name, field, err))
		}
	}
	if d := declared.GetSleepAfter(); d != nil {
		if declared.GetNoSleep() {
			errs = append(errs, fmt.Errorf("%s: option (troupe.v1.actor) has both sleep_after and no_sleep: keep one", t.name))
		}
		use("sleep_after", SleepAfter(d.AsDuration()))
	} else if declared.GetNoSleep() {
		use("no_sleep", NoSleep())
	}
	if d := declared.GetActionTimeout(); d != nil {
		use("action_timeout", ActionTimeout(d.AsDuration()))
	}
	if n := declared.GetMailboxSize(); n != 0 {
		use("mailbox_size", MailboxSize(int(n)))
	}
	if n := declared.GetMaxStateBytes(); n != 0 {
		use("max_state_bytes", MaxStateBytes(int(n)))
	}
	switch declared.GetCrashPolicy() {
	case troupev1.CrashPolicy_CRASH_POLICY_RESTART:
		use("crash_policy", CrashPolicy(CrashRestart))
	case troupev1.CrashPolicy_CRASH_POLICY_DESTROY:
		use("crash_policy", CrashPolicy(CrashDestroy))
	case troupev1.CrashPolicy_CRASH_POLICY_UNSPECIFIED, troupev1.CrashPolicy_CRASH_POLICY_SLEEP:
	}
	return errors.Join(errs...)
}

// methodTimeout is the time limit of an RPC's turns; 0 is that of its type.
func methodTimeout(spec connect.Spec, action *troupev1.ActionOptions) (time.Duration, error) {
	if action.GetTimeout() == nil {
		return 0, nil
	}
	d := action.GetTimeout().AsDuration()
	if d <= 0 || d > maxActionTimeout {
		return 0, fmt.Errorf("%s: option (troupe.v1.action).timeout is %s and must be positive and at most %s", spec.Procedure, d, maxActionTimeout)
	}
	return d, nil
}

// maxActionTimeout bounds the time limit of a turn.
const maxActionTimeout = 300 * time.Second
