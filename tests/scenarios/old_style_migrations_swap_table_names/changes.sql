pragma legacy_alter_table = on;
alter table users rename to users_old;
create table users (id integer primary key, email text unique not null, name text not null default '');
insert into users select id, email, coalesce(name, '') from users_old;
drop table users_old;
insert into users values (3, 'c@x', 'C');
-- then: two tables change names
alter table users rename to hold;
alter table orders rename to users;
alter table hold rename to orders;
insert into orders values (4, 'd@x', 'D');
insert into users values (4, 4, 4.5);
delete from users where id = 1;
-- then: and back, with rows changing on the way
alter table users rename to hold;
update orders set email = 'aa@x' where id = 1;
alter table orders rename to users;
alter table hold rename to orders;
update orders set total = total + 1;
