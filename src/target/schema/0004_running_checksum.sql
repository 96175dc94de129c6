-- Format 4: the running checksum, what every comparison covered, and lag over time.

-- Stretches of tables, each with what it held when it was last read whole. The chunks of a table
-- follow one another from the least key to the greatest.
create table lite2pg.chunks (
    id bigint generated always as identity primary key,
    table_id bigint not null references lite2pg.tables on delete cascade,
    -- Which columns, types and keys were compared, in which generation; others prove nothing.
    image text not null,
    -- Keys after this one, up to that one, as JSON; null from the least, to the greatest.
    after_key text,
    until_key text,
    -- Every change up to here has been compared; null if nothing has.
    position bigint,
    -- When and at which position the rows were last read whole, and what they were then.
    read_at timestamptz,
    read_position bigint,
    rows bigint not null default 0,
    bytes bigint not null default 0,
    -- The sum of the SHA-256 of the rows, modulo 2^256.
    checksum text not null default repeat('0', 64),
    -- Nothing differed then; a chunk in which something did is read every time until it is equal.
    is_equal boolean not null default true
);

create index chunks_table on lite2pg.chunks (table_id);

-- Passes over whole tables that are under way: the next one goes on where this one was ended.
create table lite2pg.passes (
    table_id bigint primary key references lite2pg.tables on delete cascade,
    begun_at timestamptz not null default now()
);

alter table lite2pg.verifications
    -- Only what was touched after this position was compared; null for everything that was due.
    add column since bigint,
    -- Rows and bytes that were read and compared.
    add column rows_compared bigint not null default 0,
    add column bytes bigint not null default 0,
    -- How far the target was behind at the end.
    add column lag_changes bigint,
    add column lag_ms bigint,
    -- The first rows that differed, by table, key, kind and columns; no values.
    add column drift jsonb not null default '[]',
    -- What came of the configuration's statements, and of what belongs to the tables.
    add column invariants jsonb not null default '[]',
    add column parity jsonb not null default '[]',
    add column checks jsonb not null default '[]';

-- How far behind the target was, minute by minute.
create table lite2pg.lag (
    minute timestamptz primary key,
    -- The most changes that waited, and how old the oldest of them was when it was applied.
    changes_max bigint not null,
    ms_p50 bigint not null,
    ms_p95 bigint not null,
    ms_max bigint not null,
    -- Entries of the changelog that were applied in this minute.
    applied bigint not null
);

insert into lite2pg.format values (4);
