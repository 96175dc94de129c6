insert into `Projects` values (2, '11111111-1d1a-4a54-9f12-1f6b2a7f3c11', null, 0, null, -1, 'n/a', null, '2024-01-01 00:00:00.000 +00:00', '2024-01-01 00:00:00.000 +00:00', 1) on conflict do nothing;
-- then
delete from `Projects` where id = 2;
pragma foreign_keys = on;
insert into `Projects` values (3, '31111111-1d1a-4a54-9f12-1f6b2a7f3c11', null, 0, null, -1, 7, null, '2024-01-01 00:00:00.000 +00:00', '2024-01-01 00:00:00.000 +00:00', 1);
update `Projects` set id = 10 where id = 1;
-- then: TypeORM makes a temporary table
create table "temporary_photo" ("id" varchar primary key not null, "name" varchar(100) not null default ('x'), "simple" text, "at" datetime not null default (datetime('now')), "version" integer not null, "size" float, "deletedAt" datetime, constraint "UQ_9z9z" unique ("name", "version"));
insert into "temporary_photo" ("id", "name", "simple", "at", "version", "size") select "id", "name", "simple", "at", "version", "size" from "photo";
drop table "photo";
alter table "temporary_photo" rename to "photo";
insert into "migrations" values (1, 1704067200000, 'Del1704067200000');
update photo set "deletedAt" = '2024-02-02 02:02:02' where id = '9a';
-- then: knex alters through a copy
create table `_knex_temp_alter123` (`id` char(36), `at` datetime default CURRENT_TIMESTAMP, `n` float not null default 0, primary key (`id`));
insert into _knex_temp_alter123 select id, at, n from things;
drop table things;
alter table `_knex_temp_alter123` rename to `things`;
insert into things (id) values ('t3');
