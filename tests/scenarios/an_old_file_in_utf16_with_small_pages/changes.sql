update t set "имя" = 'ÄNNE', note = 'nass' where id = 1;
insert or replace into t values (9, 'B' || char(0x1F600), 'swallowed');
update k set name = 'ё' where name = 'é';
update x set b = 'new' where rowid = 1;
-- then
pragma journal_mode = truncate;
delete from k where name = 'z';
-- then
pragma journal_mode = persist;
insert into k values ('w', 'persist');
-- then
pragma journal_mode = memory;
insert into k values ('v', 'memory');
-- then
pragma journal_mode = wal;
insert into k values ('u', 'wal');
-- then
vacuum;
insert into x values ('after', 'vacuum');
