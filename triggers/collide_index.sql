-- One statement of collide.sql: the rows that collide on one unique index.
--
--   {{table}}        ident    "orders"
--   {{table_id}}     integer  3
--   {{key_columns}}  list     k1, k2
--   {{row_key}}      exprs    "region", "id"
--   {{collides}}     expr     "email" collate NOCASE = new."email" and ...
--
-- Expansions: tests/golden/triggers/.

    insert into "_lite2pg_changelog" (tbl, op, at, token, {{key_columns}})
    select {{table_id}}, 'collide', julianday('now'), random(), {{row_key}}
      from {{table}} where {{collides}};
