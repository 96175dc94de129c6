-- create table t (a text primary key, b unique) without rowid;

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
    select 1, 'collide', julianday('now'), random(), "a"
      from "t" where "b" collate "BINARY" = new."b";
end;

CREATE TRIGGER "_lite2pg_collide_update_t" before update of "a", "b" on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    select 1, 'collide', julianday('now'), random(), "a"
      from "t" where "b" collate "BINARY" = new."b" and not ("a" is old."a" collate binary);
end;

CREATE TRIGGER "_lite2pg_delete_t" after delete on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'delete', julianday('now'), random(), old."a");
end;

CREATE TRIGGER "_lite2pg_insert_t" after insert on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'insert', julianday('now'), random(), new."a");
end;

CREATE TRIGGER "_lite2pg_rekey_t" before update of "a" on "t" when old."a" is not new."a" collate binary
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'rekey', julianday('now'), random(), old."a");
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'rekey', julianday('now'), random(), new."a");
end;

CREATE TRIGGER "_lite2pg_update_t" after update on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'update', julianday('now'), random(), new."a");
end;
