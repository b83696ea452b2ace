// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/troupe-dev/troupe/actors"
	troupev1 "github.com/troupe-dev/troupe/gen/go/troupe/v1"
	"github.com/troupe-dev/troupe/internal/wire"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

// Role says what a [Principal] may do besides calling actors.
type Role uint8

const (
	// RoleUser calls actors. The default.
	RoleUser Role = iota
	// RoleServer is a trusted backend or an operator, who may also do what
	// troupe.v1.ActorService keeps for it: list, destroy, export, repair, reset,
	// quarantine and lift actors, retry and drop what is due or dead, compact the
	// store, and see an actor's last error.
	RoleServer
)

// anyNamespace stands for every namespace.
const anyNamespace = "*"

// Principal is who calls, as an authentication hook found out.
type Principal struct {
	// Subject names the caller; actors see it by [actors.SubjectOf], and a
	// connection belongs to the subject that opened it. Empty is anonymous. One
	// that begins with "actor:" is refused: it is how actors call each other.
	Subject string
	// Namespaces are the tenants that the caller may name. Empty means
	// "default" alone. "*" is every one, for [RoleServer]; in another
	// principal it grants nothing.
	Namespaces []string
	// Role says what else the caller may do.
	Role Role
}

// may reports whether the principal may name a namespace. The nil principal is a
// caller of a server without authentication.
func (p *Principal) may(namespace string) bool {
	switch {
	case p == nil:
		return true
	case len(p.Namespaces) == 0:
		return namespace == wire.DefaultNamespace
	}
	return slices.Contains(p.Namespaces, namespace) ||
		p.Role == RoleServer && slices.Contains(p.Namespaces, anyNamespace)
}

// subject is the principal's subject.
func (p *Principal) subject() string {
	if p == nil {
		return ""
	}
	return p.Subject
}

// Authenticate has [Main] ask hook who calls; see [Config.Authenticate].
func Authenticate(hook func(ctx context.Context, header http.Header) (Principal, error)) Option {
	return optionFunc(func(p *program) { p.authenticate = hook })
}

type principalKey struct{}

// principalOf returns who calls; nil without authentication.
func principalOf(ctx context.Context) *Principal {
	principal, _ := ctx.Value(principalKey{}).(*Principal)
	return principal
}

// serverRole reports whether a caller has the server role: by its principal, or
// without authentication by having come in by a loopback listener.
func (a *authenticator) serverRole(ctx context.Context) bool {
	if a == nil {
		return fromLoopback(ctx)
	}
	principal := principalOf(ctx)
	return principal != nil && principal.Role == RoleServer
}

// failureDelay is how long the answer to a failed authentication waits, once
// failures are counted: it slows down who tries one secret after another.
const failureDelay = 250 * time.Millisecond

// authenticator asks the hook about each request. The nil authenticator lets
// everybody in.
type authenticator struct {
	hook     func(context.Context, http.Header) (Principal, error)
	timeout  time.Duration
	failures *rateLimit // by address; nil if they are not counted
	delay    time.Duration
	log      *slog.Logger
}

func newAuthenticator(cfg Config) *authenticator {
	if cfg.Authenticate == nil {
		return nil
	}
	n := cfg.Limits.AuthFailuresPerIP
	return &authenticator{
		hook: cfg.Authenticate, timeout: cfg.Limits.AuthTimeout, log: cfg.Logger,
		failures: newRateLimit(n, n), delay: failureDelay,
	}
}

// authenticate returns r with its principal, or the error that refuses it. It
// reads nothing of r but its headers.
func (a *authenticator) authenticate(r *http.Request) (*http.Request, error) {
	if a == nil {
		return r, nil
	}
	var ip uint64
	if a.failures != nil {
		ip = hashKey(clientNetwork(r.RemoteAddr))
		if wait := a.failures.wait(ip, time.Now()); wait > 0 {
			return r, tooManyFailuresOf(wait)
		}
	}
	principal, err := a.ask(r)
	if a.failures != nil {
		if wait := a.count(r.Context(), ip, err != nil); wait > 0 {
			return r, tooManyFailuresOf(wait)
		}
	}
	if err == nil && strings.HasPrefix(principal.Subject, wire.SubjectOfActors) {
		a.log.WarnContext(r.Context(), "the authentication hook gave a caller an actor's subject", "subject", principal.Subject)
		return r, reservedSubject.errorf("subjects that begin with %q are those of actors", wire.SubjectOfActors)
	}
	if err == nil {
		return r.WithContext(context.WithValue(r.Context(), principalKey{}, &principal)), nil
	}
	return r, a.verdict(r.Context(), err)
}

// count counts a failure, and returns how long the address has to wait for having failed
// too often meanwhile: who asks many times at once learns no more than one by one.
func (a *authenticator) count(ctx context.Context, ip uint64, failed bool) time.Duration {
	if !failed {
		return a.failures.wait(ip, time.Now())
	}
	wait := a.failures.take(ip, time.Now())
	pause(ctx, a.delay)
	return wait
}

func tooManyFailuresOf(wait time.Duration) *connect.Error {
	return retryAfter(tooManyFailures.errorf("too many failed authentications from this address"), wait)
}

// ask runs the hook.
func (a *authenticator) ask(r *http.Request) (principal Principal, err error) {
	defer func() {
		if value := recover(); value != nil {
			a.log.Error("the authentication hook panicked", "panic", value, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", value)
		}
	}()
	ctx, cancel := context.WithTimeout(r.Context(), a.timeout)
	defer cancel()
	return a.hook(ctx, r.Header)
}

// verdict makes what the caller sees of a hook's error: what was made for callers
// passes, and of anything else they learn only that they are not known.
func (a *authenticator) verdict(ctx context.Context, err error) *connect.Error {
	if authored, ok := errors.AsType[*actors.Error](err); ok {
		refused := connect.NewError(authored.Code(), authored.Message()).WithCause(err)
		refused = withDetail(refused, &errdetails.ErrorInfo{Reason: authored.Reason(), Domain: errorDomain, Metadata: authored.Metadata()})
		return withDetail(refused, notExecutedDetail())
	}
	if made, ok := errors.AsType[*connect.Error](err); ok && !made.IsRemote() {
		if len(made.Details()) == 0 {
			made = withDetail(made, &errdetails.ErrorInfo{Reason: unauthenticated.reason, Domain: errorDomain})
		}
		return withDetail(made, notExecutedDetail())
	}
	a.log.DebugContext(ctx, "authentication failed", "error", err)
	return unauthenticated.errorf("who calls is not known")
}

func notExecutedDetail() *troupev1.Outcome {
	return &troupev1.Outcome{Outcome: troupev1.Outcome_OUTCOME_NOT_EXECUTED}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
