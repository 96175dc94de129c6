update "articles" set "views_count" = "views_count" + 1, updated_at = '2024-01-02 00:00:00.000001';
delete from taggings where rowid = 1;
insert into taggings values (2, 9);
-- then: alter_table goes through a temporary copy
begin;
create temporary table "aarticles" as select * from "articles";
drop table "articles";
create table "articles" ("id" integer primary key autoincrement not null, "title" varchar not null, "body" text, "published" boolean default 1 not null, "price" decimal(10,3) default 0.0, "tags" json default '[]', "created_at" datetime(6) not null, "updated_at" datetime(6) not null);
insert into "articles" select id, title, body, published, price, tags, created_at, updated_at from "aarticles";
drop table "aarticles";
insert into "schema_migrations" values ('20240301000000');
commit;
insert into "articles" (title, created_at, updated_at) values ('c', '2024-03-01 00:00:00', '2024-03-01 00:00:00');
-- then
alter table "taggings" add column "position" integer default 1;
insert into "taggings" values (1, 2, 3);
drop table "active_storage_blobs";
