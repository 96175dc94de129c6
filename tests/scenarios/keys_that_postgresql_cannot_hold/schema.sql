create table urls (url text primary key, n integer);
create table pages (id integer primary key, url text unique, title text);
create index pages_title on pages (title);
insert into urls values ('http://short', 1), ('https://' || (with recursive r (i, x, s) as (select 0, 5, '' union all select i + 1, (x * 1103515245 + 12345) % 2147483648, s || char(65 + (x / 65536) % 26) from r where i < 8000) select s from r order by i desc limit 1), 5), ('zip://' || printf('%.*c', 9000, 'a'), 6);
create table names (a text, b text, primary key (a, b)) without rowid;
insert into names values ('a' || char(0) || 'b', 'NUL in a key'), ('plain', 'x'), (cast(x'ff61' as text), 'no UTF-8');
insert into pages values (1, 'http://short', 't');
