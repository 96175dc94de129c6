update docs set body = 'another' where id = 1;
delete from docs where id = 2;
insert or replace into docs values (1, 'uno', 'primero');
insert into docs_view values (7, 'through the view');
-- then
insert into docs_fts (docs_fts) values ('rebuild');
insert into places values (2, 'work', -1e308, 1e-308);
insert into places_index values (2, 5, 6, 5, 6);
drop table old_fts;
insert into docs (title) values ('after');
