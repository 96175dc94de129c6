update edge set i = i - 1 where id = 1;
update edge set n = 99999999999999999999999, r = 2.2250738585072014e-308 where id = 3;
insert into edge values (7, -1, 123456789.123456789, 1e-300, 'line' || char(10) || 'tab' || char(9), randomblob(100), 77);
update realkey set v = 'changed' where k = 9e999;
update realkey set k = 0.0 where v = 'z';
delete from realkey where k = 0.1;
update blobkey set k = x'0002' where v = 3;
update nullkey set c = c || '!' where b is null;
update texty set i = 'x' || i, j = '[]';
insert into strict_ values (4, 8, 1e3, 't', x'00', null);
update gen set a = a + 1;
update zero set x = 9 where x = 1;
delete from wide where i % 2;
-- then
insert into nullkey values ('y', 1, 'five');
delete from nullkey where a is null;
insert or replace into gen (id, a) values (9, 2);
vacuum;
insert into wide values (99, 1.0, 'after the vacuum');
