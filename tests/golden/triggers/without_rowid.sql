-- create table t (a text, b integer, c, primary key (a, b)) without rowid;

CREATE TABLE "_lite2pg_changelog" (
    seq integer primary key, tbl, op, at, token, k1, k2
);

CREATE TABLE "_lite2pg_meta" (
    id integer primary key, format, source_id, generation, key_width, target
);

CREATE TABLE "_lite2pg_tables" (id integer primary key, name, named_by);

CREATE TRIGGER "_lite2pg_delete_t" after delete on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    values (1, 'delete', julianday('now'), random(), old."a", old."b");
end;

CREATE TRIGGER "_lite2pg_insert_t" after insert on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    values (1, 'insert', julianday('now'), random(), new."a", new."b");
end;

CREATE TRIGGER "_lite2pg_rekey_t" before update of "a", "b" on "t" when old."a" is not new."a" collate binary or old."b" is not new."b" collate binary
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    values (1, 'rekey', julianday('now'), random(), old."a", old."b");
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    values (1, 'rekey', julianday('now'), random(), new."a", new."b");
end;

CREATE TRIGGER "_lite2pg_update_t" after update on "t"
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, k1, k2)
    values (1, 'update', julianday('now'), random(), new."a", new."b");
end;
