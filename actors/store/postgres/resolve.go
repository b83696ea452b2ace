// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ask asks what became of the statement that is in doubt: the one after the newest that
// was committed.
//
// The lane's row is locked first, which waits for that statement if it still runs. Then
// either there is a row that says that it was committed, or such a row is made, which
// says that it took nothing: should it arrive only now, it finds its place taken and is
// rolled back. So the answer is final.
//
// The question is a transaction that has a lock, so its end waits for a standby as that of
// the statement did, and for all that was written before. If it is told to wait no
// longer, what it has found may be on this server alone, and is not told.
func (l *lane) ask(ctx context.Context) (answer, error) {
	l.warning = ""
	got, err := l.askIn(ctx)
	if err == nil && l.warning != "" {
		err = fmt.Errorf("the server has a warning: %s", l.warning)
	}
	if err != nil {
		return answer{}, fmt.Errorf("ask what became of a commit: %w", err)
	}
	l.seq++
	l.doubt = false
	l.store.metrics.resolved.Add(1)
	return got, nil
}

func (l *lane) askIn(ctx context.Context) (got answer, err error) {
	seq, n := l.seq+1, l.node.id
	err = pgx.BeginFunc(ctx, l.conn, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `SELECT dead FROM lane WHERE node = $1 AND lane = $2 FOR UPDATE`, n, l.number).Scan(&got.dead)
		if errors.Is(err, pgx.ErrNoRows) {
			got.lost = true
			return nil
		}
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `SELECT won IS NULL, coalesce(won, '{}') FROM lane_commit WHERE node = $1 AND lane = $2 AND seq = $3`,
			n, l.number, seq).Scan(&got.all, &got.won)
		if err == nil {
			// One that took nothing may as well be sent again.
			got.void = !got.all && len(got.won) == 0
			return nil
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		var before bool
		if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM lane_commit WHERE node = $1 AND lane = $2 AND seq = $3)`,
			n, l.number, seq-1).Scan(&before); err != nil {
			return err
		}
		if !before {
			got.lost = true
			return nil
		}
		got.void = true
		if _, err := tx.Exec(ctx, `INSERT INTO lane_commit (node, lane, seq, won) VALUES ($1, $2, $3, '{}')`, n, l.number, seq); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM lane_commit WHERE node = $1 AND lane = $2 AND seq < $3`, n, l.number, seq)
		return err
	})
	return got, err
}
