update doubled set a = 8000000000000000000 where id = 7;
update doubled set a = 5 where id = 500;
insert into broad (id, c1) values (3, 6);
-- then
update broad set c1000 = 1;
delete from doubled where id = 1;
insert into doubled (id, a) select id + 2000, a from doubled where id > 900;
