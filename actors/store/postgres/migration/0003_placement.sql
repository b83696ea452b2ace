-- Copyright 2026 The Troupe Authors
-- SPDX-License-Identifier: Apache-2.0
--
-- What placement knows of failovers. A database that takes over from another begins a
-- timeline, and may lack the last things that the other had said.

-- The timeline in which the node has renewed its lease last; null before the first time.
ALTER TABLE node ADD COLUMN timeline bigint;

-- The newest timeline that a node has noticed, and when: one row.
CREATE TABLE cluster (
	one      boolean PRIMARY KEY DEFAULT true CHECK (one),
	timeline bigint NOT NULL,
	since    timestamptz NOT NULL
);
INSERT INTO cluster (timeline, since)
SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint, '-infinity';
