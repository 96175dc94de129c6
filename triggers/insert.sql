-- Records each insert into one source table.
--
-- Runs inside the application's transaction, so a change is recorded exactly when the row is. For
-- the same reason it must add no way to fail: it converts nothing and reads no table.
--
--   {{trigger}}      ident    "_lite2pg_insert_orders"
--   {{table}}        ident    "orders"
--   {{table_id}}     integer  3
--   {{key_columns}}  list     k1, k2
--   {{new_key}}      exprs    new."region", new."id"
--
-- Expansions: tests/golden/triggers/.

create trigger {{trigger}} after insert on {{table}}
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, {{key_columns}})
    values ({{table_id}}, 'insert', julianday('now'), random(), {{new_key}});
end;
