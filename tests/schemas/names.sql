create table "a""b" ("c""d" integer primary key, "select" text unique, "two
lines" text check ("two
lines" <> '%s'), "😀" text default '😀');
create table "user" ("order" int, "group" int, unique ("order", "group"), foreign key ("order") references "user" ("group"));
create table xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_1 (id integer primary key, yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy1 text unique, yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy2 text check (yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy2 > ''));
create table xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_2 (id integer primary key);
create table système (ctid int, xmin text default 'x', oid int, tableoid int check (tableoid > 0));
create table "" ("" text);
create table t_id_seq (id integer primary key); create table t (id integer primary key); create table t_pkey (id int unique);
create table clash (a int constraint c check (a > 0), b int constraint c check (b > 0), constraint c unique (a));
create index "it's" on t (id);
