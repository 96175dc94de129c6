pragma page_size = 512;
pragma encoding = 'UTF-16le';
pragma auto_vacuum = 1;
create table t (id integer primary key, "имя" text collate nocase unique, note text);
create table k (name text primary key, other text) without rowid;
create table x (a, b);
insert into t values (1, 'Änne', 'ß'), (2, 'b' || char(0x1F600), null), (3, '', 'c');
insert into k values ('é', 'x'), ('z', ''), ('Z', char(0x10FFFF));
insert into x values ('plain', 'text'), ('plain', 'text');
