// Copyright 2026 The Troupe Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

// The parts that the statements share. here is the timeline that the database writes
// in. Each statement sees one state of the tables, but for the rows that it locks or
// changes: of these it sees the newest, so whatever must hold for such a row is asked of
// the row's own columns. Time is clock_timestamp(), which goes on while a statement waits
// for a lock.
const (
	here = `('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint`

	// generation tells of the database; TTL is $2 in all but a few.
	generationSQL = `g AS MATERIALIZED (
	SELECT here, timeline = here AS noticed,
		timeline = here AND since <= clock_timestamp() - make_interval(secs => $2::float8) AS settled
	FROM cluster, (SELECT ` + here + ` AS here) h
)`
	holdings = `(SELECT array_agg(shard ORDER BY shard) FROM shard WHERE owner = $1::text::uuid),
	(SELECT array_agg(epoch ORDER BY shard) FROM shard WHERE owner = $1::text::uuid)`
)

// joinSQL takes part: $1 id, $2 TTL, $3 address, $4 version, $5 labels, $6 cordoned.
const joinSQL = `WITH ` + generationSQL + `, me AS (
	UPDATE node SET address = $3, version = $4, labels = $5, draining = true, cordoned = $6, timeline = g.here,
		expires_at = clock_timestamp() + make_interval(secs => $2)
	FROM g WHERE id = $1::text::uuid AND NOT dead AND expires_at IS NULL
	RETURNING id
)
SELECT g.here, g.noticed, g.settled, EXISTS (SELECT FROM me), ` + holdings + ` FROM g`

// beatSQL renews a lease: $1 id, $2 TTL, $3 draining, $4 the generation that the node
// knows, $5 and $6 its load.
const beatSQL = `WITH ` + generationSQL + `, me AS (
	UPDATE node SET draining = $3, actors = $5, calls = $6, timeline = g.here, expires_at = clock_timestamp() + make_interval(secs => $2)
	FROM g WHERE id = $1::text::uuid AND NOT dead AND expires_at > clock_timestamp() AND g.here = $4::bigint
	RETURNING id
)
SELECT g.here, g.noticed, g.settled,
	EXISTS (SELECT FROM me) OR g.here <> $4::bigint
		AND EXISTS (SELECT FROM node WHERE id = $1::text::uuid AND NOT dead AND expires_at > clock_timestamp()),
	` + holdings + ` FROM g`

// listSQL looks what a node holds: $1 id, $2 TTL.
const listSQL = `WITH ` + generationSQL + `
SELECT g.here, g.noticed, g.settled,
	EXISTS (SELECT FROM node WHERE id = $1::text::uuid AND NOT dead), ` + holdings + ` FROM g`

const noticeSQL = `UPDATE cluster SET timeline = ` + here + `, since = clock_timestamp() WHERE timeline <> ` + here

// ended is said of a row of node n: its lease is over. A node that has not been heard of
// in a timeline that has settled is gone, whatever the clock of an earlier one said.
const ended = `(n.expires_at <= clock_timestamp() OR g.settled AND n.timeline IS DISTINCT FROM g.here)`

// viewSQL tells of every node that is not dead: $1 TTL.
const viewSQL = `WITH g AS MATERIALIZED (
	SELECT here, timeline = here AS noticed,
		timeline = here AND since <= clock_timestamp() - make_interval(secs => $1::float8) AS settled,
		hurried > clock_timestamp() - make_interval(secs => $1) AS hurry
	FROM cluster, (SELECT ` + here + ` AS here) h
)
SELECT g.here, g.noticed, g.settled, g.hurry, n.id::text, n.address, n.version, n.labels, n.draining, n.cordoned,
	n.actors, n.calls, coalesce(s.shards, 0),
	(extract(epoch FROM n.expires_at - clock_timestamp()) * 1000)::bigint, ` + ended + `
FROM g, node n LEFT JOIN (SELECT owner, count(*) AS shards FROM shard GROUP BY owner) s ON s.owner = n.id
WHERE NOT n.dead AND n.expires_at IS NOT NULL
ORDER BY n.id`

// notAside is said of a row of node: it is not cordoned, or there is no other to be given
// shards.
const notAside = `(NOT cordoned OR NOT EXISTS (
	SELECT FROM node o WHERE NOT o.dead AND NOT o.draining AND NOT o.cordoned AND o.expires_at > clock_timestamp()))`

// The steps of a claim. $1 is TTL in the first two.
const (
	endSessionsSQL = `WITH g AS MATERIALIZED (
	SELECT here, timeline = here AND since <= clock_timestamp() - make_interval(secs => $1::float8) AS settled
	FROM cluster, (SELECT ` + here + ` AS here) h
)
SELECT pg_terminate_backend(a.pid)
FROM g, node n JOIN pg_stat_activity a ON a.application_name = 'troupe-' || n.id::text
WHERE g.settled AND NOT n.dead AND n.expires_at IS NOT NULL AND ` + ended

	markDeadSQL = `WITH g AS MATERIALIZED (
	SELECT here, timeline = here AND since <= clock_timestamp() - make_interval(secs => $1::float8) AS settled
	FROM cluster, (SELECT ` + here + ` AS here) h
), gone AS MATERIALIZED (
	SELECT n.id FROM node n, g
	WHERE g.settled AND NOT n.dead AND n.expires_at IS NOT NULL AND ` + ended + `
	ORDER BY n.id FOR UPDATE OF n SKIP LOCKED
)
UPDATE node SET dead = true FROM gone WHERE node.id = gone.id`

	// deadSQL finds owners that are dead, or missing, which is as good.
	deadSQL = `SELECT coalesce(array_agg(DISTINCT s.owner::text), '{}')
FROM shard s LEFT JOIN node n ON n.id = s.owner
WHERE s.owner IS NOT NULL AND (n.id IS NULL OR n.dead)`

	// claimSQL takes shards: $1 id, $2 TTL, $3 the dead, $4 how many.
	claimSQL = `WITH ` + generationSQL + `, me AS MATERIALIZED (
	SELECT id FROM node WHERE id = $1::text::uuid AND NOT dead AND ` + notAside + ` FOR SHARE
), free AS MATERIALIZED (
	SELECT shard FROM shard WHERE owner IS NULL OR owner = ANY ($3::text[]::uuid[])
	ORDER BY shard LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE shard s SET owner = me.id, epoch = s.epoch + 1
FROM g, me, free WHERE g.settled AND s.shard = free.shard
RETURNING g.here, s.shard, s.epoch`
)

// handSQL hands shards over: $1 who, $2 to whom, or nobody if empty, $3 shards, $4 their
// epochs. It says whether the receiver takes them.
const handSQL = `WITH receiver AS MATERIALIZED (
	SELECT id FROM node WHERE id = nullif($2::text, '')::uuid AND NOT dead AND NOT draining AND expires_at > clock_timestamp()
		AND ` + notAside + ` FOR SHARE
), moved AS (
	UPDATE shard s SET owner = nullif($2, '')::uuid, epoch = s.epoch + 1
	FROM unnest($3::integer[], $4::bigint[]) AS h (shard, epoch)
	WHERE s.shard = h.shard AND s.owner = $1::text::uuid AND s.epoch = h.epoch
		AND ($2 = '' OR EXISTS (SELECT FROM receiver))
	RETURNING s.shard
)
SELECT $2 = '' OR EXISTS (SELECT FROM receiver)`

const leaveSQL = `UPDATE node SET dead = true WHERE id = $1::text::uuid AND NOT dead`

// findSQL finds the holders of shards: $1 shards, $2 TTL.
const findSQL = `WITH ` + generationSQL + `
SELECT g.here, g.noticed, g.settled, s.shard, s.epoch, n.id::text, n.address, n.version, n.labels
FROM g, shard s JOIN node n ON n.id = s.owner AND NOT n.dead
WHERE s.shard = ANY ($1::integer[])`

// cordonSQL has a node hold no shards, or lets it again: $1 id, $2 cordoned.
const cordonSQL = `UPDATE node SET cordoned = $2 WHERE id = $1::text::uuid AND NOT dead AND expires_at > clock_timestamp()`

const rebalanceSQL = `UPDATE cluster SET hurried = clock_timestamp()`
