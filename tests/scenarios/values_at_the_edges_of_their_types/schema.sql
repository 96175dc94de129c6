create table edge (id integer primary key, i integer, r real, n numeric, t text, b blob, any_);
insert into edge values
 (1, 9223372036854775807, 1.7976931348623157e308, 0.1, 'x', x'', 1),
 (2, -9223372036854775808, 5e-324, 12345678901234567890, '', x'00', -1),
 (3, 0, -0.0, -0.5, 'é' || char(0x1F600), zeroblob(3), 0),
 (4, null, null, null, null, null, null),
 (5, 1, 9e999, 3, '0', x'ff', 2),
 (6, 1, -9e999, 1e300, ' ', x'ff', 3);
create table texty (id integer primary key, i integer, r real, d date, at datetime, flag boolean, j json);
insert into texty values (1, 'abc', 'NaN', '2024-02-30', '', 'true', '{'), (2, 12, 1.5, 20240101, 1704067200, 1, 5), (3, '', '', '', '', '', ''), (4, '007', '1e3', 2.5, '1e5', '0x10', null);
create table realkey (k real primary key, v text) without rowid;
insert into realkey values (0.1, 'a'), (-0.0, 'z'), (1e308, 'b'), (9e999, 'inf'), (2, 'two');
create table blobkey (k blob primary key, v integer);
insert into blobkey values (x'', 1), (x'00', 2), (x'0001', 3), (randomblob(600), 4);
create table nullkey (a text, b integer, c text, primary key (a, b));
insert into nullkey values ('x', null, '1'), ('x', null, '2'), (null, null, '3'), ('x', 1, '4');
create table strict_ (id integer primary key, i int not null, r real, t text, b blob, a any) strict;
insert into strict_ values (1, 5, 5, '5', x'05', 5), (2, 6, 6.5, '', x'', 'text'), (3, 7, null, null, null, 1.5);
create table gen (id integer primary key, a integer, b integer generated always as (a * 2) virtual, c text generated always as (a || '-' || b) stored, d real as (a / 2.0) unique, e integer as (b + 1));
insert into gen (id, a) values (1, 1), (2, -7), (3, null);
create table wide as with recursive n (i) as (select 1 union all select i + 1 from n where i < 50) select i, i * 1.5 as r, printf('%050d', i) as t from n;
create table zero (only_generated as (1), x);
insert into zero values (1), (2);
