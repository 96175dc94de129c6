-- The role that lite2pg uses on a PostgreSQL of your own, with no more than it needs.
--
-- Run it as a superuser, connected to the target database:  psql -d shop -f deploy/roles.sql
-- Then give the role a password:  \password sidecar
--
-- Change the name `sidecar` throughout if it is taken. Where the tables go to another schema than
-- public (--target-schema), name that one here or let lite2pg create it.

create role sidecar login;

-- create: for the schema lite2pg, which holds the position.
-- temporary: for the rows that change places on a unique index.
do $$
begin
    execute format(
        'grant connect, create, temporary on database %I to sidecar', current_database()
    );
end;
$$;

-- Since PostgreSQL 15 nobody but the owner may create in public.
grant usage, create on schema public to sidecar;

-- Optional: keeps foreign keys and triggers of the target from acting on what is replayed. Without
-- it lite2pg drops the foreign keys that it made while it replays, and `lite2pg schema --finalise`
-- makes them again. Before PostgreSQL 15 only superusers have this right.
do $$
begin
    if 150000 <= current_setting('server_version_num')::integer then
        execute 'grant set on parameter session_replication_role to sidecar';
    end if;
end;
$$;
