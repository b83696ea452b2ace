// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/troupe-dev/troupe/actors/store"
)

// open makes sure that there is a connection of the node.
func (l *lane) open(ctx context.Context, n *node) error {
	if l.node != n {
		l.hangUp(ctx)
		l.node, l.seq, l.doubt = n, 0, false
	}
	if l.conn != nil && !l.conn.IsClosed() {
		return nil
	}
	l.hangUp(ctx)
	conn, err := l.store.connect.connect(ctx, ApplicationName(n.String()), l)
	if err != nil {
		return err
	}
	l.prepared, err = conn.Prepare(ctx, commitName, commitStatement())
	if err != nil {
		return errors.Join(fmt.Errorf("prepare the commit: %w", err), conn.Close(ctx))
	}
	if err := confirm(ctx, conn, n); err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	l.conn = conn
	l.store.metrics.connected.Add(1)
	return nil
}

// hangUp gives up the connection, if there is one.
func (l *lane) hangUp(ctx context.Context) {
	if l.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = l.conn.Close(ctx) // it is of no use to anybody, whatever comes of it
	l.conn = nil
}

// inBinary is the format of all parameters and results.
var inBinary = []int16{1}

// send sends the statement and waits for its answer. A time-out of the client comes
// after those of the server, which leave no doubt.
func (l *lane) send(ctx context.Context) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, min(6*time.Second, l.store.opts.Patience*6/10))
	defer cancel()
	l.warning = ""
	result := l.exec(ctx).Read()
	if result.Err != nil {
		return answer{}, result.Err
	}
	if len(result.Rows) == 0 {
		return answer{dead: true}, nil
	}
	if l.warning != "" {
		// It waited for a standby and was told to wait no longer. Whoever asks what became
		// of it waits again.
		l.doubt = true
		return answer{}, fmt.Errorf("%w: the server has committed it with a warning: %s", store.ErrUnknown, l.warning)
	}
	l.seq++
	won := result.Rows[0][0]
	if won == nil {
		return answer{all: true}, nil
	}
	ids, err := parseUUIDs(won)
	if err != nil {
		return answer{}, fmt.Errorf("%w: %w", store.ErrUnknown, err)
	}
	return answer{won: ids}, nil
}

func (l *lane) exec(ctx context.Context) *pgconn.ResultReader {
	values := l.batch.values(l.seq + 1)
	if mend := l.batch.mend; mend != nil { // so seldom that it is not prepared
		return l.conn.PgConn().ExecParams(ctx, mendStatement(), slices.Concat(values, mend), nil, inBinary, inBinary)
	}
	return l.conn.PgConn().ExecStatement(ctx, l.prepared, values, inBinary, inBinary)
}

// pause is a wait that doubles each time, from 20 ms to a second.
type pause struct{ next time.Duration }

func newPause() *pause { return &pause{next: 20 * time.Millisecond} }

func (p *pause) wait(ctx context.Context) {
	timer := time.NewTimer(p.next)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	p.next = min(2*p.next, time.Second)
}
