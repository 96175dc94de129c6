insert into books (title) values ('The Three');
update books set title = 'The Deux' where id = 2;
insert or replace into authors (id, name, sort) values (9, 'ANN LEE', 'x');
insert or replace into data (book, format, uncompressed_size, name) values (1, 'epub', 11, 'b');
-- then
delete from books where id = 1;
insert into preferences (key, val) values ('k', '{"a": 1}');
drop trigger books_update_trg;
-- then
update books set title = 'A' where id = 3;
alter table books add column pages INTEGER not null default 0;
