// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/troupe-dev/troupe/actors/store"
	"github.com/troupe-dev/troupe/actors/store/postgres"
	"github.com/troupe-dev/troupe/actors/store/postgres/pgtest"
)

// behindProxy opens a store with one lane behind a proxy, and another one beside it.
func behindProxy(t *testing.T, patience time.Duration) (s, direct *postgres.Store, p *proxy) {
	t.Helper()
	server := pgtest.Shared(t)
	url := server.Database(t)
	direct = openStore(t, postgres.Options{URL: url})
	p = newProxy(t, server.Addr())
	s = openStore(t, postgres.Options{URL: p.through(url), Lanes: 1, Patience: patience})
	t.Cleanup(func() {
		closeStore(t, s)
		closeStore(t, direct)
	})
	return s, direct, p
}

// TestP15_LostAnswers loses the answer of a commit, or the commit itself, in the middle
// of a batch of which one write does not fit: each write is told the truth.
func TestP15_LostAnswers(t *testing.T) {
	t.Parallel()
	s, direct, p := behindProxy(t, time.Minute)
	for name, loss := range map[string]trick{"answer": loseAnswer, "request": loseRequest} {
		a, b, c := newActor(s, name+"a"), newActor(s, name+"b"), newActor(s, name+"c")
		commit(t, s, a, c)
		batch := []*store.Write{after(a, "second", put("k", "v")), b, after(c, "refused", put("k", "v"))}
		batch[2].Expect = 7
		p.play(loss)
		s.Commit(t.Context(), batch).Wait()
		<-p.tricked
		if batch[0].Err != nil || batch[1].Err != nil || !errors.Is(batch[2].Err, store.ErrConflict) {
			t.Errorf("lost %s: %v, %v, %v; want nothing, nothing and ErrConflict", name, batch[0].Err, batch[1].Err, batch[2].Err)
		}
		for i, want := range []string{"second", "born", "born"} {
			if got := stateOf(t, direct, batch[i]); got != want {
				t.Errorf("lost %s: state %d is %q, want %q", name, i, got, want)
			}
			rows, err := direct.Scan(t.Context(), batch[i].Record.ID, store.KindKV, store.Range{})
			if err != nil || (len(rows) == 1) != (i == 0) {
				t.Errorf("lost %s: actor %d has %d rows, %v", name, i, len(rows), err)
			}
		}
		// The lane goes on, and a whole batch of which nothing fits is no riddle.
		refused := after(c, "refused")
		refused.Expect = 7
		p.play(loss)
		s.Commit(t.Context(), []*store.Write{refused}).Wait()
		<-p.tricked
		if !errors.Is(refused.Err, store.ErrConflict) {
			t.Errorf("lost %s: %v, want ErrConflict", name, refused.Err)
		}
		destroy := &store.Write{Op: store.OpDestroy, Expect: 1, Record: b.Record}
		p.play(loss)
		commit(t, s, destroy)
		<-p.tricked
		if _, err := direct.Load(t.Context(), b.Record.Address); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("lost %s: after destroy: %v", name, err)
		}
	}
	if m := s.Metrics().Commit; m.Lost != 6 || m.Resolved != 6 || m.Unknown != 0 {
		t.Errorf("%d answers lost, %d found, %d unknown; want 6, 6, 0", m.Lost, m.Resolved, m.Unknown)
	}
}

// TestP15_TakenBeforeTheNodeWasDead loses the answer of a commit, and has the node marked
// dead before anybody can be asked: what the database has taken is stored all the same,
// and each write is told the truth.
func TestP15_TakenBeforeTheNodeWasDead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		expect [2]uint64
		want   [2]error
		state  string // of the first actor
	}{
		"whole":   {[2]uint64{1, 1}, [2]error{nil, nil}, "second"},
		"partial": {[2]uint64{1, 7}, [2]error{nil, store.ErrConflict}, "second"},
		"nothing": {[2]uint64{7, 7}, [2]error{store.ErrFenced, store.ErrFenced}, "born"},
	} {
		s, direct, p := behindProxy(t, time.Minute)
		a, b := newActor(s, "a"), newActor(s, "b")
		commit(t, s, a, b)
		batch := []*store.Write{after(a, "second"), after(b, "second")}
		batch[0].Expect, batch[1].Expect = c.expect[0], c.expect[1]
		p.play(loseAndRefuse)
		sent := s.Commit(t.Context(), batch)
		<-p.tricked
		if _, err := direct.Pool().Exec(t.Context(), `UPDATE node SET dead = true WHERE id = $1`, s.NodeID()); err != nil {
			t.Fatal(err)
		}
		p.play(pass)
		sent.Wait()
		for i, w := range batch {
			if !errors.Is(w.Err, c.want[i]) {
				t.Errorf("%s: write %d: %v, want %v", name, i, w.Err, c.want[i])
			}
		}
		if got := stateOf(t, direct, a); got != c.state {
			t.Errorf("%s: state is %q, want %q", name, got, c.state)
		}
		late := newActor(s, "c")
		if s.Commit(t.Context(), []*store.Write{late}).Wait(); !errors.Is(late.Err, store.ErrFenced) {
			t.Errorf("%s: the next commit: %v, want ErrFenced", name, late.Err)
		}
	}
}

// TestP15_LateCommit lets a commit arrive at the server after the store has found out
// that it had not, has sent it again and has destroyed the actor since: the late one
// must not bring it back.
func TestP15_LateCommit(t *testing.T) {
	t.Parallel()
	s, direct, p := behindProxy(t, time.Minute)
	a := newActor(s, "a", put("k", "v"))
	p.play(delayRequest)
	commit(t, s, a)
	<-p.tricked
	commit(t, s, &store.Write{Op: store.OpDestroy, Expect: 1, Record: a.Record})
	close(p.release)
	if answer := <-p.late; len(answer) == 0 || bytes.Contains(answer, []byte("INSERT 0 1")) {
		t.Errorf("the late commit was answered by %q", answer)
	}
	if _, err := direct.Load(t.Context(), a.Record.Address); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the destroyed actor: %v", err)
	}
	if rows, err := direct.Scan(t.Context(), a.Record.ID, store.KindKV, store.Range{}); err != nil || len(rows) > 0 {
		t.Errorf("the destroyed actor has %d rows, %v", len(rows), err)
	}
}

// TestP15_NobodyToAsk holds that a commit whose answer is lost together with the
// database is unknown, never reported as having failed, that a read says that nobody
// answers, and that the store goes on once the database is back.
func TestP15_NobodyToAsk(t *testing.T) {
	t.Parallel()
	s, direct, p := behindProxy(t, 3*time.Second)
	a, b := newActor(s, "a"), newActor(s, "b")
	commit(t, s, a)
	p.play(loseAndRefuse)
	w := after(a, "second")
	first := s.Commit(t.Context(), []*store.Write{w})
	<-p.tricked
	second := s.Commit(t.Context(), []*store.Write{b})
	if first.Wait(); !errors.Is(w.Err, store.ErrUnknown) {
		t.Errorf("the commit without an answer: %v, want ErrUnknown", w.Err)
	}
	if second.Wait(); b.Err == nil || errors.Is(b.Err, store.ErrUnknown) {
		t.Errorf("the commit that was never sent: %v, want a definite failure", b.Err)
	}
	if _, err := s.Load(t.Context(), a.Record.Address); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a read: %v, want ErrUnavailable", err)
	}
	p.play(pass)
	// The lane asks before it goes on: the second turn was stored.
	third := after(w, "third")
	again := after(a, "again")
	s.Commit(t.Context(), []*store.Write{again}).Wait()
	if !errors.Is(again.Err, store.ErrConflict) {
		t.Errorf("the same turn once more: %v, want ErrConflict", again.Err)
	}
	commit(t, s, third, b)
	if got := stateOf(t, direct, a); got != "third" {
		t.Errorf("state is %q", got)
	}
}

// TestConnectionsAreMadeAnew ends all sessions of a store over and over, which readers
// and writers must not notice.
func TestConnectionsAreMadeAnew(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	s := openStore(t, postgres.Options{URL: url, Patience: time.Minute})
	defer closeStore(t, s)
	conn := session(t, url)
	last := newActor(s, "a")
	commit(t, s, last)
	for i := range 20 {
		exec(t, conn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		next := after(last, fmt.Sprint(i))
		p := s.Commit(t.Context(), []*store.Write{next})
		if i%2 == 0 {
			exec(t, conn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
		}
		if got := stateOf(t, s, next); got != fmt.Sprint(i) {
			t.Fatalf("state is %q, want %d", got, i)
		}
		if p.Wait(); next.Err != nil {
			t.Fatalf("turn %d: %v", i, next.Err)
		}
		last = next
	}
	if got := s.Metrics().Commit.Connected; got < 10 {
		t.Errorf("%d connections were made", got)
	}
}
