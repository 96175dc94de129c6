create table "jobs" ("id" integer primary key autoincrement not null, "queue" varchar not null, "payload" text not null, "attempts" integer not null default '0', "reserved_at" integer, "options" text check ("options" in ('a', 'b')) not null default 'a');
create index "jobs_queue_index" on "jobs" ("queue");
create table "sessions" ("id" varchar not null, "user_id" integer, primary key ("id"));
