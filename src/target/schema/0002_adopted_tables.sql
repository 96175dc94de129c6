-- Format 2: tables that were there before lite2pg came, and tables that have stopped.

-- Its target was made by the application's own migrations: never altered, never dropped.
alter table lite2pg.tables add column adopted boolean not null default false;

-- Why a table is stopped.
alter table lite2pg.tables add column reason text;
alter table lite2pg.tables drop constraint tables_state_check;
alter table lite2pg.tables add constraint tables_state_check
    check (state in ('copying', 'copied', 'streaming', 'stopped'));

-- It belongs to the application, and was only taken out of the way of replay.
alter table lite2pg.objects add column adopted boolean not null default false;
alter table lite2pg.objects drop constraint objects_kind_check;
alter table lite2pg.objects add constraint objects_kind_check
    check (kind in ('index', 'check', 'foreign_key', 'view', 'trigger'));

insert into lite2pg.format values (2);
