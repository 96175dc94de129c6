update "shop_book" set "price" = '19.99', "data" = '{"a": "é"}' where "id" = 1;
insert into "shop_book" values (3, 'Three', '1234567890.125', '2021-01-01', '23:59:59.999999', -1, '[]', 4294967295, x'', -0.5, 'eeee6789abcdef0123456789abcdef01', 1, 1);
delete from "django_session";
insert into "django_session" values ('abd', 'eyK', '2024-02-02 00:00:00');
-- then: AlterField, the way of _remake_table
begin;
create table "new__shop_book" ("id" integer not null primary key autoincrement, "title" varchar(300) not null, "price" decimal not null, "published" date null, "opens" time null, "took" bigint null, "data" text not null check ((JSON_VALID("data") or "data" is null)), "pages" integer unsigned not null check ("pages" >= 0), "cover" BLOB null, "ratio" real null, "isbn" char(32) not null unique, "owner_id" integer not null references "auth_user" ("id") deferrable initially deferred, "is_open" bool not null, "stock" integer not null);
insert into "new__shop_book" select "id", "title", "price", "published", "opens", "took", "data", "pages", "cover", "ratio", "isbn", "owner_id", "is_open", 5 from "shop_book";
drop view "shop_open";
drop table "shop_book";
alter table "new__shop_book" rename to "shop_book";
create index "shop_book_owner_id_1f2e3d4c" on "shop_book" ("owner_id");
create view "shop_open" as select "id", "title", "stock" from "shop_book" where "is_open" = 1;
insert into "django_migrations" values (null, 'shop', '0002_stock', '2024-03-01 00:00:00');
commit;
insert into "shop_book" values (4, 'Four', '1', null, null, null, '0', 1, null, null, 'dddd6789abcdef0123456789abcdef01', 2, 1, 7);
-- then: AddField and RemoveField on newer SQLite, AddIndex, a new model
alter table "shop_book" add column "subtitle" varchar(50) default 'none' not null;
create index "shop_book_title_idx" on "shop_book" ("title", "stock" desc);
alter table "shop_book" drop column "took";
create table "shop_tag" ("id" integer not null primary key autoincrement, "name" varchar(50) not null unique);
create table "shop_book_tags" ("id" integer not null primary key autoincrement, "book_id" integer not null references "shop_book" ("id") deferrable initially deferred, "tag_id" integer not null references "shop_tag" ("id") deferrable initially deferred);
create unique index "shop_book_tags_uniq" on "shop_book_tags" ("book_id", "tag_id");
insert into "shop_tag" values (1, 'new'), (2, 'old');
insert into "shop_book_tags" (book_id, tag_id) values (1, 1), (2, 2);
update "shop_book" set "subtitle" = 'sub' where "id" = 4;
-- then: RenameModel
alter table "shop_tag" rename to "shop_label";
alter table "shop_label" rename column "name" to "word";
insert into "shop_label" values (3, 'third');
delete from "auth_user" where "id" = 99;
update "auth_user" set "last_login" = '2024-06-01 10:00:00.000001' where "id" = 1;
