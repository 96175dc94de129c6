-- The numbers of the captured tables, by which the changelog names them. A table whose triggers
-- were renewed has several: the greatest is in force.

create table if not exists "_lite2pg_tables" (id integer primary key, name, named_by);
