drop view cheap;
create view cheap as select id, name, price from item where price < 20;
insert into sale values (3, 1, 7);
-- then
alter table item add column stock integer not null default 0;
create view stocked as select name from item where stock > 0;
update item set stock = 4;
-- then
drop view sold;
alter table sale rename to sales;
create view sold as select item_id, max(amount) as total from sales group by item_id;
drop index item_kind;
create index item_kind on item (kind, stock);
insert into sales values (4, 2, 1);
