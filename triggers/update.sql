-- Records each update of one source table under the key that the row has afterwards.
--
--   {{trigger}}      ident    "_lite2pg_update_orders"
--   {{table}}        ident    "orders"
--   {{table_id}}     integer  3
--   {{key_columns}}  list     k1, k2
--   {{new_key}}      exprs    new."region", new."id"
--
-- Expansions: tests/golden/triggers/.

create trigger {{trigger}} after update on {{table}}
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, {{key_columns}})
    values ({{table_id}}, 'update', julianday('now'), random(), {{new_key}});
end;
