insert or replace into Cache (key, raw, store_time, value) values (x'01', 1, 1704067201.0, x'ff');
update Settings set value = 'text' where key = 'size';
update Settings set value = 3 where key = 'cull_limit';
-- then
insert into Cache (key, raw, store_time, value) values ('plain', 1, 1.0, 42);
delete from Cache where key = x'02';
-- then: every class there is, and the edges of each
create table mixed (k primary key, v, b blob) without rowid;
insert into mixed values (1, 'x', null), ('1', 2, 'y'), (x'31', 2.5, x''), (1.5, -0.0, 7), ('q"\' || char(10, 9, 8, 12, 13, 1, 127), 9e999, -9e999), (-1, 5.0, 1e300), (9223372036854775807, 5e-324, 'é' || char(0x1F600));
-- then
update mixed set v = k, b = v;
delete from mixed where k = '1';
insert into mixed values ('1', zeroblob(3), 1.0) on conflict (k) do nothing;
update mixed set k = 2 where k = 1;
insert into mixed values (0.0, null, null);
-- then: what was of one class becomes of two
create table later (k text primary key, v);
insert into later values ('a', 'text');
-- then
insert into later values ('b', 5);
update later set v = 2.5 where k = 'a';
-- then
insert into later values ('c', x'00ff');
