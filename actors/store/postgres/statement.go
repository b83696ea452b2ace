// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

// commitSQL commits a batch. It is a transaction by itself.
//
// First, fence: the lane's row is locked, if the node is not dead and the commit before
// was not lost by the database. All else depends on it. What is created, updated and
// destroyed is what fits the expected revision; the others of the batch stay as they
// are. Rows are written for those that were, which is why won is looked up for each row.
// That is a search in a sorted array: a join would be planned for ten rows, whatever
// their number, and take hours for thousands.
//
// The parts of one statement all see the store as it was before it. So batch makes sure
// that no part touches what another does.
//
// It gives a row with the ids that were taken, null for every one; no row means that
// the fence has refused.
const commitSQL = `
WITH fence AS MATERIALIZED (
	SELECT l.lane FROM lane l
	WHERE l.node = $1::uuid AND l.lane = $2::smallint AND NOT l.dead
	AND EXISTS (SELECT FROM lane_commit c WHERE c.node = $1 AND c.lane = $2 AND c.seq = $3::bigint - 1)
	FOR UPDATE OF l
), created AS (
	INSERT INTO actor (id, digest, revision, state_version, quarantined, event_head, created_at, sum, state, namespace, type, key)
	SELECT c.* FROM fence, unnest($5::uuid[], $6::uuid[], $7::bigint[], $8::bigint[], $9::boolean[], $10::bigint[],
		$11::bigint[], $12::bigint[], $13::bytea[], $14::bytea[], $15::bytea[], $16::bytea[]) AS c
	ON CONFLICT DO NOTHING
	RETURNING id
), updated AS (
	UPDATE actor a SET revision = u.revision, state_version = u.state_version, quarantined = u.quarantined,
		event_head = u.event_head, created_at = u.created_at, sum = u.sum, state = u.state
	FROM fence, unnest($17::uuid[], $18::uuid[], $19::bigint[], $20::bigint[], $21::bigint[], $22::boolean[],
		$23::bigint[], $24::bigint[], $25::bigint[], $26::bytea[])
		AS u (id, digest, expect, revision, state_version, quarantined, event_head, created_at, sum, state)
	WHERE a.id = u.id AND a.digest = u.digest AND a.revision = u.expect
	RETURNING a.id
), destroyed AS (
	DELETE FROM actor a
	USING fence, unnest($27::uuid[], $28::uuid[], $29::bigint[]) AS d (id, digest, expect)
	WHERE a.id = d.id AND a.digest = d.digest AND a.revision = d.expect
	RETURNING a.id
), won AS MATERIALIZED (
	SELECT coalesce(array_agg(x.id ORDER BY x.id), '{}') AS ids
	FROM (SELECT id FROM created UNION ALL SELECT id FROM updated) x
), put AS (
	INSERT INTO actor_row (actor, kind, key, due, shard, sum, value)
	SELECT r.* FROM won, unnest($30::uuid[], $31::smallint[], $32::bytea[], $33::bigint[], $34::integer[], $35::integer[], $36::bytea[])
		AS r (actor, kind, key, due, shard, sum, value)
	WHERE won.ids[width_bucket(r.actor, won.ids)] = r.actor
	ON CONFLICT (actor, kind, key) DO UPDATE SET due = excluded.due, sum = excluded.sum, value = excluded.value
), removed AS (
	DELETE FROM actor_row r
	USING won, unnest($37::uuid[], $38::smallint[], $39::bytea[], $40::bytea[]) AS d (actor, kind, first, past)
	WHERE won.ids[width_bucket(d.actor, won.ids)] = d.actor
	AND r.actor = d.actor AND r.kind = d.kind AND r.key >= d.first AND r.key < d.past
), cleared AS (
	DELETE FROM actor_row r USING destroyed WHERE r.actor = destroyed.id
), forgotten AS (
	DELETE FROM lane_commit c USING fence WHERE c.node = $1 AND c.lane = $2 AND c.seq = $3 - 2
)
INSERT INTO lane_commit (node, lane, seq, won)
SELECT $1, $2, $3, CASE WHEN cardinality(all_won.ids) < $4::integer THEN all_won.ids END
FROM fence, (SELECT won.ids || ARRAY (SELECT id FROM destroyed) AS ids FROM won) AS all_won
RETURNING won`

// commitName is what a session calls it. (The driver takes the text of a statement for a
// name if there is one like it, and "commit" is what ends a transaction.)
const commitName = "troupe_commit"

// commitParams is the number of its parameters.
const commitParams = 40
