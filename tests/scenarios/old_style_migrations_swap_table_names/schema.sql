create table users (id integer primary key, email text unique not null, name text);
create table orders (id integer primary key, user_id integer references users (id), total real);
create index orders_user on orders (user_id);
insert into users values (1, 'a@x', 'A'), (2, 'b@x', 'B');
insert into orders values (1, 1, 1.5), (2, 2, 2.5);
