create table accounts (id integer primary key, email text, phone text, login text not null);
create unique index accounts_email on accounts (email);
create unique index accounts_phone on accounts (phone) where phone is not null;
create table people (id integer primary key, first text, last text);
create unique index people_name on people (lower(first), last);
insert into accounts values (1, 'a@x', '1', 'a'), (2, 'b@x', null, 'b');
insert into people values (1, 'Ann', 'Lee');
