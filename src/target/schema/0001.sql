-- What lite2pg keeps on the target, format 1. Nothing here holds values of the application.

-- The format of this schema. A newer one is refused by an older lite2pg.
create table lite2pg.format (version integer primary key);

-- Where the target stands. One row; it moves in the transaction that moves the rows.
create table lite2pg.position (
    id integer primary key default 1 check (id = 1),
    -- Whose history the positions belong to.
    source_id text not null,
    generation bigint not null,
    -- Newest applied entry of the changelog, and the random token that stands there.
    applied bigint not null check (0 <= applied),
    token bigint not null,
    -- The head at the moment contents were read; ahead of `applied` only while a backlog too
    -- large for one transaction is being worked off.
    read_through bigint not null,
    -- True: the tables equal the source as it was at `applied`, wholly.
    consistent boolean not null,
    -- Which run of the sidecar may move the position. A run that finds another number stops.
    epoch bigint not null,
    applied_at timestamptz not null default now(),
    -- When the newest applied change was made on the source.
    changed_at timestamptz,
    -- The source's PRAGMA schema_version when its tables were last looked at.
    schema_version bigint,
    -- Which file that was.
    source_file text,
    -- The schema that holds the application's tables.
    target_schema text not null,
    phase text not null check (phase in ('copying', 'catching_up', 'streaming')),
    check (not consistent or read_through <= applied)
) with (fillfactor = 20);

-- The captured tables, numbered as in the source.
create table lite2pg.tables (
    id bigint primary key,
    name text not null unique,
    -- The name in the target schema.
    target text not null,
    state text not null check (state in ('copying', 'copied', 'streaming')),
    -- The columns that travel, and the types that the source's declarations became.
    columns jsonb not null
);

-- How far each stretch of each table is copied.
create table lite2pg.copy_progress (
    table_id bigint not null references lite2pg.tables on delete cascade,
    lane integer not null,
    -- Rowids above this belong to the next lane.
    until bigint,
    -- The last row copied.
    cursor jsonb not null,
    rows bigint not null,
    done boolean not null,
    primary key (table_id, lane)
);

-- Rows of the source that the target cannot hold.
create table lite2pg.quarantine (
    table_id bigint not null references lite2pg.tables on delete cascade,
    key jsonb not null,
    column_name text,
    reason text not null,
    position bigint not null,
    since timestamptz not null default now()
);

-- A key may be longer than an index entry can be; that may be the very reason to be here.
create unique index quarantine_key on lite2pg.quarantine (table_id, md5(key::text));

-- What is built after the rows are there.
create table lite2pg.objects (
    kind text not null check (kind in ('index', 'check', 'foreign_key', 'view')),
    name text not null,
    -- The target table or view.
    belongs_to text not null,
    sql text not null,
    state text not null check (state in ('waiting', 'built', 'refused')),
    -- What PostgreSQL said.
    reason text,
    primary key (kind, name, belongs_to)
);

-- What is not exactly as on the source, and why.
create table lite2pg.notes (
    object text not null,
    what text not null,
    kind text not null check (kind in ('left out', 'differs', 'renamed')),
    reason text not null,
    primary key (object, what, reason)
);

-- What happened that a person should know.
create table lite2pg.incidents (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    kind text not null,
    position bigint,
    message text not null
);

-- Moves the position, or fails: a statement that changed nothing must not look like success.
create function lite2pg.advance(
    my_epoch bigint, expected bigint, new_applied bigint, new_token bigint,
    new_read_through bigint, new_consistent boolean, new_changed_ms bigint
) returns void language plpgsql set search_path = pg_catalog as $$
declare
    found_epoch bigint;
    found_applied bigint;
begin
    update lite2pg.position
       set applied = new_applied, token = new_token, read_through = new_read_through,
           consistent = new_consistent, applied_at = now(),
           changed_at = case when new_changed_ms = 0 then changed_at
                        else to_timestamp(new_changed_ms / 1000.0) end
     where id = 1 and epoch = my_epoch and applied = expected;
    if not found then
        select epoch, applied into found_epoch, found_applied from lite2pg.position where id = 1;
        if found_epoch is null then
            raise exception 'lite2pg: the position row is gone' using errcode = 'L2004';
        end if;
        if found_epoch < my_epoch then
            raise exception 'lite2pg: the target was put back (epoch %, not %)',
                found_epoch, my_epoch using errcode = 'L2003';
        end if;
        if found_epoch > my_epoch then
            raise exception 'lite2pg: another sidecar has taken over (epoch %, not %)',
                found_epoch, my_epoch using errcode = 'L2001';
        end if;
        raise exception 'lite2pg: the target stands at %, not at %', found_applied, expected
            using errcode = 'L2002';
    end if;
end;
$$;

insert into lite2pg.format values (1);
