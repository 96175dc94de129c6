-- Format 5: what is needed to tell, when one side is not what it was, since when, and to undo it.

-- The entries that were applied: their random tokens, four bytes of each, one row for each
-- transaction. Where a file's entries stop to carry these tokens, its history parts from the one
-- that was applied. Old rows are merged, and the oldest are dropped.
create table lite2pg.trail (
    -- The first and the last entry.
    first bigint primary key,
    last bigint not null,
    tokens bytea not null,
    -- The transaction that applied them: rows that it wrote carry its number. Of merged rows the
    -- least.
    xid bigint not null default txid_current(),
    applied_at timestamptz not null default now(),
    check (first <= last and octet_length(tokens) = 4 * (last - first + 1))
);

alter table lite2pg.incidents
    -- When it was last seen, and in how many runs.
    add column last_at timestamptz not null default now(),
    add column times bigint not null default 1,
    -- It must be decided on before anything goes on: a lineage stop.
    add column needs_decision boolean not null default false,
    -- What was decided, by whom, and when.
    add column decision text,
    add column decided_by text,
    add column decided_at timestamptz;

-- Rows as they were before something removed or overwrote them that nobody could see: a decision
-- of the operator's, or a table whose writes went uncaptured.
create table lite2pg.archive (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    incident bigint references lite2pg.incidents,
    -- Its table on the source, and on the target.
    table_name text not null,
    target text not null,
    key jsonb not null,
    -- `jsonb_populate_record(null::"the table", row)` makes it a row again.
    row jsonb not null
);

create index archive_incident on lite2pg.archive (incident);

alter table lite2pg.position
    -- Names this target; the source remembers it, too.
    add column pairing text not null default gen_random_uuid()::text,
    -- The server and the database it was made in.
    add column home text,
    -- Where the source was last read: host and path.
    add column source_host text,
    add column source_path text,
    -- What the main file looked like when it was last looked at.
    add column source_traces text,
    -- A decision that is being carried out, to be gone on with after a crash.
    add column decision jsonb;

-- Writes to it went unseen: it is compared and repaired while it stays readable.
alter table lite2pg.tables drop constraint tables_state_check;
alter table lite2pg.tables add constraint tables_state_check
    check (state in ('copying', 'copied', 'streaming', 'stopped', 'dirty'));

alter table lite2pg.tables
    -- Of a dirty table: the incident that says so, how many rows were found to differ so far, and
    -- how many of those the source does not have.
    add column incident bigint references lite2pg.incidents,
    add column unseen bigint not null default 0,
    add column unseen_extra bigint not null default 0;

-- A row is archived once for each incident. Its key may be longer than an index entry can be.
create index archive_key on lite2pg.archive (incident, md5(key::text));

insert into lite2pg.format values (5);

-- When those who wanted to be told of it were told.
alter table lite2pg.incidents add column told_at timestamptz;
