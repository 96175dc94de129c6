-- Records the rows that REPLACE is about to remove.
--
-- With recursive_triggers off, which is the default, SQLite fires no delete trigger for a row that
-- REPLACE conflict handling throws out (https://www.sqlite.org/lang_conflict.html). So before a
-- row arrives, the keys of the other rows that it collides with are recorded, on every unique
-- index that could remove a row under another key. An entry too many is harmless: the row is read
-- again and found unchanged. An update that names no column of a unique index collides with none.
--
--   {{trigger}}      ident   "_lite2pg_collide_insert_orders"
--   {{event}}        words   insert; update of "email", rowid, _rowid_, oid
--   {{table}}        ident   "orders"
--   {{statements}}   list    one collide_index.sql per unique index
--
-- Expansions: tests/golden/triggers/.

create trigger {{trigger}} before {{event}} on {{table}}
begin
{{statements}}
end;
