-- The changelog and what belongs to it.
--
-- No NOT NULL, UNIQUE, CHECK or foreign key: an outer INSERT OR IGNORE would turn a violation
-- inside a trigger into a silently missing entry. Columns have no type, so that a key keeps its
-- storage class. No AUTOINCREMENT: the newest entry is never pruned, and the anchor's token proves
-- that the log is the same log.
--
--   {{key_columns}}  list   k1, k2
--
-- Expansions: tests/golden/triggers/.

create table "_lite2pg_meta" (
    id integer primary key, format, source_id, generation, key_width, target
);

create table "_lite2pg_changelog" (
    seq integer primary key, tbl, op, at, token, {{key_columns}}
);
