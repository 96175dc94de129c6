create schema if not exists "public";
create table if not exists "public"."photo" (
    "id" text collate "C" not null,
    "createdAt" text collate "C" default to_char(statement_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') not null,
    "size" bigint default 0 not null,
    "tags" text collate "C" default '[]' not null,
    "kind" text collate "C" default 'a' not null
);
alter table "public"."photo" add constraint "photo_pkey" primary key ("id");
create unique index if not exists "photo_createdAt_size_key" on "public"."photo" ("createdAt", "size");
create index if not exists "IDX_desc" on "public"."photo" ("createdAt" desc);
alter table "public"."photo" add constraint "photo_check_1" check ("kind" in ('a', 'b')) not valid;
