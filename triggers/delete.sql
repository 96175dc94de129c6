-- Records each delete from one source table.
--
--   {{trigger}}      ident    "_lite2pg_delete_orders"
--   {{table}}        ident    "orders"
--   {{table_id}}     integer  3
--   {{key_columns}}  list     k1, k2
--   {{old_key}}      exprs    old."region", old."id"
--
-- Expansions: tests/golden/triggers/.

create trigger {{trigger}} after delete on {{table}}
begin
    insert into "_lite2pg_changelog" (tbl, op, at, token, {{key_columns}})
    values ({{table_id}}, 'delete', julianday('now'), random(), {{old_key}});
end;
