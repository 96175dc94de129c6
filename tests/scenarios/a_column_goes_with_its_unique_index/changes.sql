drop index accounts_phone;
-- then: now that nothing names the column
alter table accounts drop column phone;
insert or replace into accounts values (3, 'a@x', 'c');
-- then: an index more and one less
create unique index accounts_login on accounts (login);
create index people_last on people (last collate nocase);
drop index people_name;
insert or replace into accounts values (4, 'd@x', 'c');
insert into people values (2, 'ann', 'Lee'), (3, 'Ann', 'Lee');
-- then: renamed columns
alter table accounts rename column login to handle;
update accounts set handle = handle || '!';
alter table people rename column first to given;
insert into people values (4, 'Zed', 'Poe');
