pragma page_size = 65536;
pragma journal_mode = wal;
create table files (path text primary key, body blob, text_ text);
create table log (id integer primary key, line text);
create index log_line on log (line);
insert into files values ('a', zeroblob(11000000), null), ('b', randomblob(1000000), printf('%.*c', 400000, 'é')), ('c', x'', '');
insert into log (line) values ('short'), (hex(randomblob(20000)));
