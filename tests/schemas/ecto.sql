CREATE TABLE "schema_migrations" ("version" INTEGER PRIMARY KEY, "inserted_at" TEXT);
CREATE TABLE "tokens" ("id" TEXT PRIMARY KEY, "token" BLOB NOT NULL, "context" TEXT DEFAULT 'session' NOT NULL, "meta" TEXT DEFAULT ('{}'), "count" INTEGER DEFAULT (1 + 1) NOT NULL);
CREATE UNIQUE INDEX "tokens_context_token_index" ON "tokens" ("context", "token");
