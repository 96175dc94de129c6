-- Format 3: what comparisons of both sides came to.

create table lite2pg.verifications (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    verdict text not null check (verdict in ('pass', 'fail', 'incomplete')),
    -- Whose history, and where the target stood at the end.
    source_id text not null,
    generation bigint not null,
    position bigint not null,
    -- The only table that was compared; null for all.
    only_table text,
    -- Every row was brought home, not a share of large tables.
    is_full boolean not null,
    -- Rows that differ, that were being written, and that the target cannot hold.
    drift_rows bigint not null,
    in_flight bigint not null,
    quarantined bigint not null,
    seconds double precision not null,
    -- Per table: name, rows and checksum, and what differed. No values, and no keys.
    tables jsonb not null,
    -- What was not compared, and why.
    left_out jsonb not null
);

create index verifications_at on lite2pg.verifications (at);

insert into lite2pg.format values (3);
