create table Cache (rowid INTEGER primary key, key BLOB, raw INTEGER, store_time REAL, expire_time REAL, access_count INTEGER default 0, tag BLOB, size INTEGER default 0, mode INTEGER default 0, filename TEXT, value BLOB);
create unique index Cache_key_raw on Cache(key, raw);
create index Cache_store_time on Cache (store_time);
create table Settings (key TEXT not null unique, value);
create trigger Settings_count_insert after insert on Cache for each row begin update Settings set value = value + 1 where key = "count"; end;
create trigger Settings_count_delete after delete on Cache for each row begin update Settings set value = value - 1 where key = "count"; end;
insert into Settings values ('count', 0), ('eviction_policy', 'least-recently-stored'), ('cull_limit', 10), ('size', 1.5), ('off', null);
insert into Cache (key, raw, store_time, value) values (x'01', 1, 1704067200.123, x'80049500'), (x'02', 1, 1704067200.5, x'00');
