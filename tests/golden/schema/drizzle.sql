-- generated column todo.sum: differs (where a number leaves its range, PostgreSQL refuses the row and SQLite goes on with a rounded one)

create schema if not exists "public";
create table if not exists "public"."todo" (
    "id" text collate "C" default lower(coalesce(upper(encode(substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16), 'hex')), '') collate "C") not null,
    "at" bigint default floor(extract(epoch from statement_timestamp()))::bigint not null,
    "ms" bigint default trunc(((extract(epoch from statement_timestamp()) / 86400.0 + 2440587.5)::double precision - 2440587.5::double precision) * 86400000::double precision)::bigint,
    "s" text collate "C" default floor(extract(epoch from statement_timestamp()))::bigint::text,
    "sum" bigint generated always as ("at" + 1) stored,
    "full" text collate "C" generated always as (("id" || ' ') || coalesce("s", '')) stored
);
alter table "public"."todo" add constraint "todo_pkey" primary key ("id");
