-- Copyright 2026 The Troupe Authors
-- SPDX-License-Identifier: Apache-2.0
--
-- The tables of a store. They live in a schema of their own, which is the session's
-- search_path. Bytes are bytea or uuid, never text: both are compared byte by byte,
-- whatever the database's collation, and take a zero byte.

-- What the store is: one row, written at the first start and never changed.
CREATE TABLE store (
	one        boolean PRIMARY KEY DEFAULT true CHECK (one),
	generation bigint NOT NULL,  -- random; part of every incarnation: another one after a restore
	shards     integer NOT NULL CHECK (shards BETWEEN 1 AND 65535),
	shard_hash text NOT NULL,    -- which hash places an actor in a shard
	created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The nodes: one row for each start of a server process, made when it opens the store.
-- The id is random and never used again. A dead row never comes back to life, and a
-- missing one is as good as dead.
--
-- UPDATE node SET dead = true is the fence. It waits for the commits of that node that
-- are on their way, and when it has committed, every later one is refused: the trigger
-- below marks the node's lanes, each of which a commit holds locked. So a shard may be
-- given to another node once dead is true and committed, or by its owner's own hand
-- once it has settled every commit of the shard.
CREATE TABLE node (
	id         uuid PRIMARY KEY,
	address    text NOT NULL DEFAULT '',             -- where other nodes reach it, host:port
	version    bigint NOT NULL DEFAULT 0,            -- orders the versions of the program
	labels     jsonb NOT NULL DEFAULT '{}',
	draining   boolean NOT NULL DEFAULT false,       -- takes no more shards
	dead       boolean NOT NULL DEFAULT false,
	expires_at timestamptz,                          -- end of its lease; null as long as it takes no part in placement
	started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Who holds a shard. A row for each shard is made at the first start. The epoch grows
-- with each change of owner.
CREATE TABLE shard (
	shard integer PRIMARY KEY,
	owner uuid,                                      -- node.id, or null: nobody's
	epoch bigint NOT NULL DEFAULT 0
);
CREATE INDEX shard_owner ON shard (owner);

-- The lanes of a node. Each carries one commit at a time, which holds the row locked
-- from its beginning to its end. A lock leaves no row version behind, so that a long
-- transaction elsewhere, a dump say, does not make the next commits slower.
CREATE TABLE lane (
	node uuid NOT NULL REFERENCES node (id) ON DELETE CASCADE,
	lane smallint NOT NULL,
	dead boolean NOT NULL DEFAULT false,             -- copied from the node by the trigger
	PRIMARY KEY (node, lane)
);

CREATE FUNCTION fence_lanes() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
	UPDATE lane SET dead = true WHERE lane.node = NEW.id AND NOT lane.dead;
	RETURN NULL;
END $$;

CREATE TRIGGER fence_lanes AFTER UPDATE OF dead ON node
	FOR EACH ROW WHEN (NEW.dead) EXECUTE FUNCTION fence_lanes();

-- The newest commits of each lane, so that a node that lost the answer to one can ask:
-- a row says that it was committed, and which of its writes were taken.
CREATE TABLE lane_commit (
	node uuid NOT NULL,
	lane smallint NOT NULL,
	seq  bigint NOT NULL,
	won  uuid[],                                     -- actor ids, in order; null: every one
	PRIMARY KEY (node, lane, seq)
);

-- The actors. Numbers without a sign are stored as the signed ones of the same bits.
CREATE TABLE actor (
	id            uuid PRIMARY KEY,                  -- of the incarnation; begins with the shard
	digest        uuid NOT NULL,                     -- of namespace, type and key: 16 bytes of SHA-256
	revision      bigint NOT NULL,
	state_version bigint NOT NULL,
	quarantined   boolean NOT NULL,
	event_head    bigint NOT NULL,
	created_at    bigint NOT NULL,                   -- milliseconds since 1970
	sum           bigint NOT NULL,                   -- CRC-32C of the record and that of its state
	namespace     bytea NOT NULL,
	type          bytea NOT NULL,
	key           bytea NOT NULL,
	state         bytea NOT NULL
);
CREATE UNIQUE INDEX actor_digest ON actor (digest);
-- For lists, in order. A key may be longer than an index takes.
CREATE INDEX actor_address ON actor (namespace, type, substring(key FROM 1 FOR 1024));

-- The rows of the actors: key-value pairs, schedules, events, outgoing messages, kept
-- replies.
CREATE TABLE actor_row (
	actor uuid NOT NULL,
	kind  smallint NOT NULL,
	key   bytea NOT NULL,
	due   bigint,                                    -- microseconds since 1970; null: not in the due index
	shard integer NOT NULL,                          -- the first two bytes of actor
	sum   integer NOT NULL,                          -- CRC-32C of the row
	value bytea NOT NULL,
	PRIMARY KEY (actor, kind, key)
);
CREATE INDEX actor_row_due ON actor_row (shard, kind, due, actor, key) WHERE due IS NOT NULL;
