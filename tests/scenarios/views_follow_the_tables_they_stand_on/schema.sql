create table item (id integer primary key, name text not null, price real, kind text);
create table sale (id integer primary key, item_id integer not null references item (id), amount integer not null);
create view cheap as select id, name from item where price < 10;
create view sold as select item_id, sum(amount) as total from sale group by item_id;
create view odd as select group_concat(name) from item;
create index item_kind on item (kind) where price > 1;
insert into item values (1, 'a', 5.0, 'x'), (2, 'b', 50.0, null);
insert into sale values (1, 1, 3), (2, 2, 4);
