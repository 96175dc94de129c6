create schema if not exists "public";
create table if not exists "public"."_prisma_migrations" (
    "id" text collate "C" not null,
    "checksum" text collate "C" not null,
    "finished_at" text collate "C",
    "migration_name" text collate "C" not null,
    "logs" text collate "C",
    "rolled_back_at" text collate "C",
    "started_at" text collate "C" default to_char(statement_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') not null,
    "applied_steps_count" bigint default 0 not null
);
create table if not exists "public"."User" (
    "id" text collate "C" not null,
    "createdAt" text collate "C" default to_char(statement_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') not null,
    "role" text collate "C" default 'USER' not null,
    "big" bigint default 9007199254740993 not null,
    "flag" bigint default 0 not null
);
create table if not exists "public"."_PostToUser" (
    "A" text collate "C" not null,
    "B" text collate "C" not null
);
alter table "public"."_prisma_migrations" add constraint "_prisma_migrations_pkey" primary key ("id");
alter table "public"."User" add constraint "User_pkey" primary key ("id");
create unique index if not exists "_PostToUser_AB_unique" on "public"."_PostToUser" ("A", "B");
alter table "public"."_PostToUser" add constraint "_PostToUser_B_fkey" foreign key ("B") references "public"."User" ("id") on update cascade on delete cascade not valid;
