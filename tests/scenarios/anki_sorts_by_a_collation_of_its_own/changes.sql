insert or replace into notetypes values (3, 'BASIC', 1, x'ff');
insert or replace into fields values (1, 2, 'FRONT', x'01');
insert into graves values (7, 0, -1);
update notes set flds = 'neu', sfld = 'neu', mod = 9 where id = 1500000000002;
-- then
replace into tags values ('VERB', 1, 0, null);
insert into tags values ('neu', 1, 0, null);
delete from tags where tag = 'Nomen';
delete from graves where oid = 5 and type = 1;
update decks set name = 'default';
