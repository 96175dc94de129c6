CREATE TABLE "auth_user" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "password" varchar(128) NOT NULL, "last_login" datetime NULL, "is_superuser" bool NOT NULL, "username" varchar(150) NOT NULL UNIQUE, "age" integer unsigned NOT NULL CHECK ("age" >= 0), "data" text NOT NULL CHECK ((JSON_VALID("data") OR "data" IS NULL)));
CREATE TABLE "shop_item" ("id" char(32) NOT NULL PRIMARY KEY, "owner_id" integer NOT NULL REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED, "price" decimal NOT NULL, "slug" varchar(50) NOT NULL, "state" varchar(8) NOT NULL, CONSTRAINT "price_gte_0" CHECK ("price" >= '0'), CONSTRAINT "state_known" CHECK ("state" IN ('new', 'old')), CONSTRAINT "uniq_slug" UNIQUE ("owner_id", "slug"));
CREATE INDEX "shop_item_owner_id_b0b2a8f1" ON "shop_item" ("owner_id");
CREATE UNIQUE INDEX "one_new" ON "shop_item" ("owner_id") WHERE ("state" = 'new' AND "price" > '0');
CREATE INDEX "lower_slug" ON "shop_item" ((LOWER("slug")) DESC, "owner_id");
