-- At the cutover, when lite2pg has stopped: the tables go to their owner, and the application may
-- write to them.
--
-- Run it as a superuser, connected to the target database:  psql -d shop -f deploy/hand-over.sql
-- It takes the settings of deploy/roles.sql, which it follows, and may be run again.

begin;

create function pg_temp.chosen(name text, otherwise text) returns text
    language sql stable
    as $$ select coalesce(nullif(current_setting('lite2pg.' || name, true), ''), otherwise) $$;

do $$
declare
    schema constant text := pg_temp.chosen('schema', 'public');
    owner constant text := pg_temp.chosen('owner', 'app_owner');
    writer constant text := pg_temp.chosen('writer', 'app_writer');
    sidecar constant text := pg_temp.chosen('sidecar', 'sidecar');
    relation record;
begin
    -- Indexes and the sequences of identities follow their tables.
    for relation in
        select c.relname, c.relkind
          from pg_class c
         where c.relnamespace = to_regnamespace(format('%I', schema))
           and c.relowner = (select oid from pg_roles where rolname = sidecar)
           and c.relkind in ('r', 'p', 'v', 'm')
    loop
        execute format(
            'alter %s %I.%I owner to %I',
            case relation.relkind
                when 'v' then 'view' when 'm' then 'materialized view' else 'table'
            end,
            schema, relation.relname, owner
        );
    end loop;

    -- From here on the sidecar only looks.
    execute format('revoke create on schema %I from %I', schema, sidecar);
    execute format(
        'revoke insert, update, delete on all tables in schema %I from %I', schema, sidecar
    );
    execute format('grant select on all tables in schema %I to %I', schema, sidecar);
    execute format(
        'grant select, insert, update, delete on all tables in schema %I to %I', schema, writer
    );
    execute format('grant usage, select on all sequences in schema %I to %I', schema, writer);
    execute format(
        'alter default privileges for role %I in schema %I
             grant select, insert, update, delete on tables to %I',
        owner, schema, writer
    );
    execute format(
        'alter default privileges for role %I in schema %I grant usage, select on sequences to %I',
        owner, schema, writer
    );
end;
$$;

drop function pg_temp.chosen(text, text);

commit;
