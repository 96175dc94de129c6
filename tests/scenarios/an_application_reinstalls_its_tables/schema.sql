create table config (k text primary key, v text);
create table event (id integer primary key autoincrement, what text);
create table plain (a integer, b text);
insert into config values ('version', '1');
insert into event (what) values ('start'), ('stop');
insert into plain values (1, 'x'), (2, 'y');
