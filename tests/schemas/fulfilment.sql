CREATE TABLE params (id INTEGER PRIMARY KEY AUTOINCREMENT, category TEXT NOT NULL, name TEXT NOT NULL, sku TEXT, changed TIMESTAMP DEFAULT CURRENT_TIMESTAMP, UNIQUE (category, name, sku));
CREATE TABLE controls (name TEXT PRIMARY KEY, enabled BOOLEAN NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)), by TEXT DEFAULT 'system');
CREATE TABLE inbox (id INTEGER PRIMARY KEY AUTOINCREMENT, number TEXT NOT NULL UNIQUE, day DATE NOT NULL, email TEXT COLLATE NOCASE, done BOOLEAN NOT NULL DEFAULT 0, status TEXT NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting','sent')));
CREATE INDEX inbox_status ON inbox(status, day DESC); CREATE INDEX inbox_open ON inbox(day) WHERE done = 0; CREATE INDEX inbox_email ON inbox(lower(email));
CREATE TABLE lot (id INTEGER PRIMARY KEY, sku TEXT NOT NULL, active INTEGER NOT NULL DEFAULT 1); CREATE UNIQUE INDEX one_active ON lot(sku) WHERE active = 1;
CREATE TABLE contact (id TEXT PRIMARY KEY, email TEXT UNIQUE COLLATE NOCASE, tier TEXT CHECK (tier IN ('gold','silver')), p REAL CHECK (p BETWEEN 0 AND 1), tags TEXT DEFAULT '[]', alive BOOLEAN DEFAULT TRUE);
CREATE INDEX contact_tier ON contact(tier DESC, email COLLATE NOCASE);
