-- Records both keys of a row whose key is about to change.
--
-- Before the update, because afterwards may never come: REPLACE can remove the row that has the new
-- key, and with it, by a cascade, the very row that is being updated. The comparison is bytewise:
-- under NOCASE 'a' and 'A' are equal to SQLite and two keys to us.
--
-- An update that names no column of the key does not run this: a BEFORE trigger makes SQLite look
-- the row up twice.
--
--   {{trigger}}       ident    "_lite2pg_rekey_orders"
--   {{event}}         words    update of "region", "id", rowid, _rowid_, oid
--   {{table}}         ident    "orders"
--   {{table_id}}      integer  3
--   {{key_columns}}   list     k1, k2
--   {{old_key}}       exprs    old."region", old."id"
--   {{incoming_key}}  exprs    new."region", new."id"
--   {{key_changed}}   expr     old."region" is not new."region" collate binary or ...
--
-- Expansions: tests/golden/triggers/.

create trigger {{trigger}} before {{event}} on {{table}} when {{key_changed}}
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, {{key_columns}})
    values ({{table_id}}, 'rekey', julianday('now'), random(), {{old_key}});
    insert into "_lite2pg_changelog" (tbl, op, at, token, {{key_columns}})
    values ({{table_id}}, 'rekey', julianday('now'), random(), {{incoming_key}});
end;
