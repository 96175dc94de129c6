insert into moz_historyvisits (place_id, visit_date, visit_type) values (1, 1704067200000000, 1), (1, 1704067200000001, 2);
insert into moz_bookmarks (type, fk, parent, position, guid) values (1, 1, 0, 0, 'bbbbbbbbbbbb');
insert or ignore into moz_origins (prefix, host, frecency) values ('https://', 'example.org', 1), ('http://', 'b.org', 2);
insert or replace into moz_places (id, url, guid) values (2, 'https://b.org/', 'aaaaaaaaaaaa');
replace into moz_meta values ('origin_frecency_count', 5.5);
insert or replace into cookies values ('.a.org', 'sid', '/', x'763131', 13360000000000000, 1, '');
-- then: a new version
alter table moz_places add column description TEXT;
alter table moz_origins add column block_until_ms INTEGER;
create index moz_places_originidindex on moz_places (origin_id);
drop trigger moz_bookmarks_foreign_count;
pragma user_version = 76;
insert into moz_places (url, guid, description) values ('https://c.org/', 'cccccccccccc', 'd');
