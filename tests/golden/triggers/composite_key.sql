-- create table t (a not null, b not null, c, primary key (b, a));

CREATE TABLE "_lite2pg_changelog" (
    seq integer primary key, tbl, op, at, token, k1, k2
);

CREATE TABLE "_lite2pg_meta" (
    id integer primary key, format, source_id, generation, key_width, target
);

CREATE TABLE "_lite2pg_tables" (id integer primary key, name, named_by);

CREATE TRIGGER "_lite2pg_collide_insert_t" before insert on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    select 1, 'collide', julianday('now'), random(), "b", "a"
      from "t" where rowid = new.rowid;
end;

CREATE TRIGGER "_lite2pg_collide_update_t" before update of "a", "b", rowid, _rowid_, oid on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    select 1, 'collide', julianday('now'), random(), "b", "a"
      from "t" where rowid = new.rowid and rowid <> old.rowid;
end;

CREATE TRIGGER "_lite2pg_delete_t" after delete on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    values (1, 'delete', julianday('now'), random(), old."b", old."a");
end;

CREATE TRIGGER "_lite2pg_insert_t" after insert on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    values (1, 'insert', julianday('now'), random(), new."b", new."a");
end;

CREATE TRIGGER "_lite2pg_rekey_t" before update of "a", "b", rowid, _rowid_, oid on "t" when old."b" is not new."b" collate binary or old."a" is not new."a" collate binary
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    values (1, 'rekey', julianday('now'), random(), old."b", old."a");
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    values (1, 'rekey', julianday('now'), random(), new."b", new."a");
end;

CREATE TRIGGER "_lite2pg_update_t" after update on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    values (1, 'update', julianday('now'), random(), new."b", new."a");
end;
