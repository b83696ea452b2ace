-- Copyright 2026 The Troupe Authors
-- SPDX-License-Identifier: Apache-2.0
--
-- How PostgreSQL is to keep the tables. Nothing here changes what they mean.

-- A state is replaced by every turn: room on its page makes that an update in place,
-- and vacuum follows closely, without pauses. States are not compressed here: what is
-- large is often compressed already.
ALTER TABLE actor ALTER COLUMN state SET STORAGE EXTERNAL;
ALTER TABLE actor SET (
	fillfactor = 70,
	autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_vacuum_cost_delay = 0,
	toast.autovacuum_vacuum_scale_factor = 0.02,
	toast.autovacuum_vacuum_threshold = 1000,
	toast.autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE actor_row ALTER COLUMN value SET STORAGE EXTERNAL;
ALTER TABLE actor_row SET (
	fillfactor = 85,
	autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_vacuum_cost_delay = 0,
	autovacuum_vacuum_insert_scale_factor = 0.1,
	toast.autovacuum_vacuum_scale_factor = 0.02,
	toast.autovacuum_vacuum_threshold = 1000,
	toast.autovacuum_vacuum_cost_delay = 0
);
-- Few rows, replaced all the time.
ALTER TABLE lane_commit SET (
	autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 10000,
	autovacuum_vacuum_cost_delay = 0,
	autovacuum_analyze_scale_factor = 0,
	autovacuum_analyze_threshold = 1000000
);
ALTER TABLE node SET (fillfactor = 50, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
ALTER TABLE shard SET (fillfactor = 50);
