pragma journal_mode = wal;
create table `__drizzle_migrations` (id SERIAL primary key, hash text not null, created_at numeric);
create table `users` (`id` text primary key not null, `created_at` integer default (unixepoch() * 1000) not null, `settings` text default '{}', `avatar` blob, `active` integer default true, `score` numeric, `email` text collate nocase, constraint `score_check` check ("users"."score" > -1000));
create unique index `users_email_unique` on `users` (`email`);
create unique index `users_lower` on `users` (lower("email"));
create table `kv` (`k` text not null, `ns` text not null, `v` blob, primary key (`k`, `ns`)) without rowid;
insert into `__drizzle_migrations` (hash, created_at) values ('h1', 1704067200000);
insert into `users` values ('u1', 1704067200000, '{}', null, 1, 1.5, 'A@x'), ('u2', 1704067200001, null, x'00', 0, 7, 'b@x');
insert into kv values ('a', 'n', x'01'), ('a', 'm', null), ('A', 'n', 'text');
