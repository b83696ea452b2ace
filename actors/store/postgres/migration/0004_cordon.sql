-- Copyright 2026 The Troupe Authors
-- SPDX-License-Identifier: Apache-2.0
--
-- What those who run the cluster ask of it, and what they see.

-- The node is to hold no shards; and what it ran when it renewed its lease last.
ALTER TABLE node
	ADD COLUMN cordoned boolean NOT NULL DEFAULT false,
	ADD COLUMN actors bigint NOT NULL DEFAULT 0,
	ADD COLUMN calls bigint NOT NULL DEFAULT 0;

-- When somebody asked for the shards to be evened out at once.
ALTER TABLE cluster ADD COLUMN hurried timestamptz NOT NULL DEFAULT '-infinity';
