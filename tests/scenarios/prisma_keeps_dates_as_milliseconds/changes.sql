insert into "User" values ('cl3', 'c@x', 1710000000000, '99.99', 1, 3, -9223372036854775808, zeroblob(10));
insert into "Post" ("title", "authorId") values ('q', 'cl3');
-- then: RedefineTables
pragma foreign_keys = off;
create table "new_User" ("id" TEXT not null primary key, "email" TEXT not null, "createdAt" DATETIME not null default CURRENT_TIMESTAMP, "balance" DECIMAL not null default 0, "isAdmin" BOOLEAN not null default false, "nick" TEXT);
insert into "new_User" ("balance", "createdAt", "email", "id", "isAdmin") select "balance", "createdAt", "email", "id", "isAdmin" from "User";
drop table "User";
alter table "new_User" rename to "User";
create unique index "User_email_key" on "User"("email");
create unique index "User_nick_key" on "User"("nick");
pragma foreign_key_check;
pragma foreign_keys = on;
insert into "_prisma_migrations" values ('m2', 'c2', 1710000000000, '20240301_nick', null, null, 1710000000001, 1);
update "User" set "nick" = "id";
insert or replace into "User" ("id", "email", "createdAt", "nick") values ('cl9', 'b@x', 1710000000001, 'cl2');
