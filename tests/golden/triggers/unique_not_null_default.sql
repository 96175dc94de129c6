-- create table t (id integer primary key, a text not null default 'x', unique (a));

CREATE TABLE "_lite2pg_changelog" (
    seq integer primary key, tbl, op, at, token, k1
);

CREATE TABLE "_lite2pg_meta" (
    id integer primary key, format, source_id, generation, key_width
);

CREATE TABLE "_lite2pg_tables" (id integer primary key, name, named_by);

CREATE TRIGGER "_lite2pg_t_collide_insert" before insert on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    select 1, 'collide', julianday('now'), random(), "id"
      from "t" where "a" collate "BINARY" = coalesce(new."a", ('x'));
end;

CREATE TRIGGER "_lite2pg_t_collide_update" before update on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    select 1, 'collide', julianday('now'), random(), "id"
      from "t" where "a" collate "BINARY" = coalesce(new."a", ('x')) and rowid <> old.rowid;
end;

CREATE TRIGGER "_lite2pg_t_delete" after delete on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'delete', julianday('now'), random(), old."id");
end;

CREATE TRIGGER "_lite2pg_t_insert" after insert on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'insert', julianday('now'), random(), new."id");
end;

CREATE TRIGGER "_lite2pg_t_rekey" before update on "t" when old."id" is not new."id" collate binary
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'rekey', julianday('now'), random(), old."id");
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'rekey', julianday('now'), random(), new."id");
end;

CREATE TRIGGER "_lite2pg_t_update" after update on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'update', julianday('now'), random(), new."id");
end;
