-- create table t (a, b);

CREATE TABLE "_lite2pg_changelog" (
    seq integer primary key, tbl, op, at, token, k1
);

CREATE TABLE "_lite2pg_meta" (
    id integer primary key, format, source_id, generation, key_width, target
);

CREATE TABLE "_lite2pg_tables" (id integer primary key, name, named_by);

CREATE TRIGGER "_lite2pg_delete_t" after delete on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'delete', julianday('now'), random(), old.rowid);
end;

CREATE TRIGGER "_lite2pg_insert_t" after insert on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'insert', julianday('now'), random(), new.rowid);
end;

CREATE TRIGGER "_lite2pg_rekey_t" before update of rowid, _rowid_, oid on "t" when old.rowid is not new.rowid collate binary
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'rekey', julianday('now'), random(), old.rowid);
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'rekey', julianday('now'), random(), new.rowid);
end;

CREATE TRIGGER "_lite2pg_update_t" after update on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1)
    values (1, 'update', julianday('now'), random(), new.rowid);
end;
