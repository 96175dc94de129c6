-- create table t (id integer primary key, a, b);
--          create unique index i on t (a) where b is null;

CREATE TABLE "_lite2pg_changelog" (
    seq integer primary key, tbl, op, at, token, k1
);

CREATE TABLE "_lite2pg_meta" (
    id integer primary key, format, source_id, generation, key_width, target
);

CREATE TABLE "_lite2pg_tables" (id integer primary key, name, named_by);

CREATE TRIGGER "_lite2pg_collide_insert_t" before insert on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    select 1, 'collide', julianday('now'), random(), "id"
      from "t" where "a" collate "BINARY" = new."a" and (b IS NULL);
end;

CREATE TRIGGER "_lite2pg_collide_update_t" before update on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    select 1, 'collide', julianday('now'), random(), "id"
      from "t" where "a" collate "BINARY" = new."a" and (b IS NULL) and rowid <> old.rowid;
end;

CREATE TRIGGER "_lite2pg_delete_t" after delete on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'delete', julianday('now'), random(), old."id");
end;

CREATE TRIGGER "_lite2pg_insert_t" after insert on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'insert', julianday('now'), random(), new."id");
end;

CREATE TRIGGER "_lite2pg_rekey_t" before update of "id", rowid, _rowid_, oid on "t" when old."id" is not new."id" collate binary
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'rekey', julianday('now'), random(), old."id");
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'rekey', julianday('now'), random(), new."id");
end;

CREATE TRIGGER "_lite2pg_update_t" after update on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'update', julianday('now'), random(), new."id");
end;
