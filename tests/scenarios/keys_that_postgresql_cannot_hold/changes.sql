insert into urls values ('http://' || (with recursive r (i, x, s) as (select 0, 7, '' union all select i + 1, (x * 1103515245 + 12345) % 2147483648, s || char(65 + (x / 65536) % 26) from r where i < 8000) select s from r order by i desc limit 1), 2);
insert into pages values (2, 'http://x', (with recursive r (i, x, s) as (select 0, 9, '' union all select i + 1, (x * 1103515245 + 12345) % 2147483648, s || char(65 + (x / 65536) % 26) from r where i < 8000) select s from r order by i desc limit 1));
insert into names values ('late' || char(0), 'y');
-- then
delete from names where b = 'NUL in a key';
update urls set n = n + 1;
update pages set title = 'short again' where id = 2;
