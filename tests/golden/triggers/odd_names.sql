-- create table "a ""b"" c" ("select" integer primary key, "it's" unique);

CREATE TABLE "_lite2pg_changelog" (
    seq integer primary key, tbl, op, at, token, k1
);

CREATE TABLE "_lite2pg_meta" (
    id integer primary key, format, source_id, generation, key_width, target
);

CREATE TABLE "_lite2pg_tables" (id integer primary key, name, named_by);

CREATE TRIGGER "_lite2pg_collide_insert_a ""b"" c" before insert on "a ""b"" c"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    select 1, 'collide', julianday('now'), random(), "select"
      from "a ""b"" c" where "it's" collate "BINARY" = new."it's";
end;

CREATE TRIGGER "_lite2pg_collide_update_a ""b"" c" before update of "select", "it's", rowid, _rowid_, oid on "a ""b"" c"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    select 1, 'collide', julianday('now'), random(), "select"
      from "a ""b"" c" where "it's" collate "BINARY" = new."it's" and rowid <> old.rowid;
end;

CREATE TRIGGER "_lite2pg_delete_a ""b"" c" after delete on "a ""b"" c"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'delete', julianday('now'), random(), old."select");
end;

CREATE TRIGGER "_lite2pg_insert_a ""b"" c" after insert on "a ""b"" c"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'insert', julianday('now'), random(), new."select");
end;

CREATE TRIGGER "_lite2pg_rekey_a ""b"" c" before update of "select", rowid, _rowid_, oid on "a ""b"" c" when old."select" is not new."select" collate binary
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'rekey', julianday('now'), random(), old."select");
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'rekey', julianday('now'), random(), new."select");
end;

CREATE TRIGGER "_lite2pg_update_a ""b"" c" after update on "a ""b"" c"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'update', julianday('now'), random(), new."select");
end;
