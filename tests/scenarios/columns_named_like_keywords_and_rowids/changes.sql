insert or replace into "order" ("select", "group") values (3, 'g');
update "weird ""name""" set "a ""b""" = 'k"2', "😀" = 8;
update rowids set v = 'w' where _rowid_ = 2;
delete from rowids where v is null;
insert into shadowed values ('b', null, null, 2);
update shadowed set rowid = 'z' where v = 1;
insert or replace into a values (2, 'x');
insert or replace into a_collide values (2, 'y');
update "select" set a = a + 10;
-- then
alter table "order" rename to "Orders";
alter table "weird ""name""" rename column "it's" to "its";
insert into "Orders" ("from") values ('new');
update "UPPER" set "mixed_case" = 'n';
update ctids set ctid = 6;
