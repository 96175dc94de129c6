-- Roles for a database that lite2pg fills, each with no more than it needs:
--
--   app_owner    owns the application's tables; its migrations run as this role
--   app_writer   what the application is a member of after the cutover
--   app_reader   reads, from the first day
--   sidecar      lite2pg itself; the only one that can log in
--
-- Run it as a superuser, connected to the target database:  psql -d shop -f deploy/roles.sql
-- Then give the role a password:  \password sidecar
-- docs/reference/roles.md says what each right is for. It may be run again, as after a migration
-- that made tables.
--
-- Other names, and the mode, are settings of the session:
--
--   PGOPTIONS="-c lite2pg.mode=adopt -c lite2pg.sidecar=copier" psql -d shop -f deploy/roles.sql
--
--   lite2pg.mode     create (lite2pg makes the tables) or adopt (migrations have made them)
--   lite2pg.schema   where the tables are; public
--   lite2pg.owner, lite2pg.writer, lite2pg.reader, lite2pg.sidecar

begin;

create function pg_temp.chosen(name text, otherwise text) returns text
    language sql stable
    as $$ select coalesce(nullif(current_setting('lite2pg.' || name, true), ''), otherwise) $$;

do $$
declare
    mode constant text := pg_temp.chosen('mode', 'create');
    schema constant text := pg_temp.chosen('schema', 'public');
    owner constant text := pg_temp.chosen('owner', 'app_owner');
    writer constant text := pg_temp.chosen('writer', 'app_writer');
    reader constant text := pg_temp.chosen('reader', 'app_reader');
    sidecar constant text := pg_temp.chosen('sidecar', 'sidecar');
    database constant text := current_database();
    role text;
begin
    if mode not in ('create', 'adopt') then
        raise exception 'lite2pg.mode is %, and must be create or adopt', mode;
    end if;

    foreach role in array array[owner, writer, reader, sidecar] loop
        if not exists (select from pg_roles where rolname = role) then
            execute format(
                'create role %I %s', role, case role when sidecar then 'login' else 'nologin' end
            );
        end if;
        execute format('grant connect on database %I to %I', database, role);
    end loop;

    -- temporary: for rows that change places on a unique index.
    execute format('grant temporary on database %I to %I', database, sidecar);

    if not exists (select from pg_namespace where nspname = schema) then
        execute format('create schema %I authorization %I', schema, owner);
    end if;
    execute format('grant usage, create on schema %I to %I', schema, owner);
    execute format('grant usage on schema %I to %I, %I, %I', schema, writer, reader, sidecar);

    -- The position, the quarantine and the incidents. Made here, so that lite2pg needs no right to
    -- make schemas.
    if not exists (select from pg_namespace where nspname = 'lite2pg') then
        execute format('create schema lite2pg authorization %I', sidecar);
    end if;
    execute format('grant usage, create on schema lite2pg to %I', sidecar);
    execute format('grant usage on schema lite2pg to %I', reader);
    execute format(
        'alter default privileges for role %I in schema lite2pg grant select on tables to %I',
        sidecar, reader
    );
    execute format('grant select on all tables in schema lite2pg to %I', reader);

    if mode = 'create' then
        -- The tables are the sidecar's until deploy/hand-over.sql gives them to their owner, and
        -- nobody else may write to them before that.
        execute format('grant create on schema %I to %I', schema, sidecar);
        execute format(
            'alter default privileges for role %I in schema %I grant select on tables to %I',
            sidecar, schema, reader
        );
    else
        -- The tables are their owner's. The sidecar changes rows, and none of the definitions.
        execute format(
            'grant select, insert, update, delete on all tables in schema %I to %I', schema, sidecar
        );
        execute format(
            'grant usage, select, update on all sequences in schema %I to %I', schema, sidecar
        );
        execute format(
            'alter default privileges for role %I in schema %I
                 grant select, insert, update, delete on tables to %I',
            owner, schema, sidecar
        );
        execute format(
            'alter default privileges for role %I in schema %I
                 grant usage, select, update on sequences to %I',
            owner, schema, sidecar
        );
    end if;

    execute format('grant select on all tables in schema %I to %I', schema, reader);
    execute format(
        'alter default privileges for role %I in schema %I grant select on tables to %I',
        owner, schema, reader
    );

    -- Keeps foreign keys and triggers from acting on what is replayed. Before PostgreSQL 15 only
    -- superusers have this right; docs/reference/roles.md says what follows.
    if 150000 <= current_setting('server_version_num')::integer then
        execute format('grant set on parameter session_replication_role to %I', sidecar);
    end if;
end;
$$;

drop function pg_temp.chosen(text, text);

commit;
