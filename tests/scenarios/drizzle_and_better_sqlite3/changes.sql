insert or replace into users values ('u3', 5, '[]', null, 1, null, 'a@X');
insert into kv values ('b', 'n', 'x') on conflict (k, ns) do update set v = excluded.v;
update kv set k = 'z' where k = 'a' and ns = 'm';
-- then: push
create table `__new_users` (`id` text primary key not null, `created_at` integer not null, `settings` text default '{}', `active` integer default true, `score` numeric, `email` text collate nocase);
insert into `__new_users` (id, created_at, settings, active, score, email) select id, created_at, settings, active, score, email from users;
drop table users;
alter table `__new_users` rename to `users`;
create unique index `users_email_unique` on `users` (`email`);
alter table kv add `expires` integer;
insert into __drizzle_migrations (hash, created_at) values ('h2', 1704067200999);
insert into users values ('u4', 6, null, 1, 2, 'd@x');
