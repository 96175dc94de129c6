CREATE TABLE "photo" ("id" varchar PRIMARY KEY NOT NULL, "createdAt" datetime NOT NULL DEFAULT (datetime('now')), "size" integer NOT NULL DEFAULT (0), "tags" text NOT NULL DEFAULT ('[]'), "kind" varchar CHECK( "kind" IN ('a','b') ) NOT NULL DEFAULT ('a'), CONSTRAINT "UQ_1" UNIQUE ("createdAt", "size"));
CREATE INDEX "IDX_desc" ON "photo" ("createdAt" DESC) ;
