drop table config;
drop table event;
drop table plain;
create table config (k text primary key, v text);
create table event (id integer primary key autoincrement, what text);
create table plain (a integer, b text);
insert into config values ('version', '2');
insert into plain values (7, 'new');
-- then: every trigger goes, ours as well
drop trigger if exists "_lite2pg_insert_config";
drop trigger if exists "_lite2pg_update_config";
insert into config values ('unseen', 'row');
update config set v = '3';
-- then
insert into event (what) values ('again');
delete from plain;
vacuum;
insert into plain values (8, 'eight');
-- then: a schema of other shapes under the same names
drop table plain;
create table plain (a integer, b text, c text, primary key (a, b, c)) without rowid;
insert into plain values (1, 'b', 'c');
drop table event;
create table event (name text primary key, at integer);
insert into event values ('x', 1);
drop table config;
create view config as select 'k' as k;
