//! The database that is copied: orders, their items, and documents with long text and bytes.

use std::path::Path;

use rusqlite::{Connection, params};

/// Numbers that look random and are the same every time (SplitMix64).
pub struct Mixer(u64);

impl Mixer {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> i64 {
        i64::try_from(self.next() % limit).expect("limits are small")
    }

    /// About `bytes` of words.
    pub fn prose(&mut self, bytes: usize) -> String {
        const WORDS: [&str; 16] = [
            "parcel", "invoice", "ready", "shelf", "north", "customer", "called", "again", "late",
            "carrier", "deposit", "blue", "crate", "signed", "über", "returned",
        ];
        let mut text = String::with_capacity(bytes + 16);
        while text.len() < bytes {
            let drawn = self.next();
            text.push_str(WORDS[(drawn % 16) as usize]);
            text.push_str(if drawn & 0x100 == 0 { " " } else { ", " });
            if drawn & 0x600 == 0 {
                text.push_str(&(drawn >> 48).to_string());
            }
        }
        text
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// The tables that are copied, and the indexes on them, as PostgreSQL spells them.
pub const TABLES: [&str; 3] = ["orders", "items", "docs"];
pub const KEYS: [&str; 3] = [
    "alter table orders add primary key (id)",
    "alter table items add primary key (order_id, line)",
    "alter table docs add primary key (id)",
];
pub const INDEXES: [&str; 1] = ["create index on orders (customer_id)"];

/// Makes the file: `orders` rows, twice as many items, `docs` documents of about 6 KiB.
pub fn fill(path: &Path, orders: u64, docs: u64) {
    let mut conn = Connection::open(path).expect("open a new file");
    conn.execute_batch(
        "pragma journal_mode = wal; pragma synchronous = off;
         create table orders (
            id integer primary key, customer_id integer not null, status text not null,
            placed_at text not null, total_cents integer not null, currency text not null,
            discount real, note text);
         create index orders_customer on orders (customer_id);
         create table items (
            order_id integer not null, line integer not null, product_id integer not null,
            quantity integer not null, price_cents integer not null,
            primary key (order_id, line));
         create table docs (
            id integer primary key, title text not null, body text not null, attachment blob);",
    )
    .expect("make the tables");
    let mut mixer = Mixer::new(42);
    let transaction = conn.transaction().expect("begin");
    for id in 1..=i64::try_from(orders).expect("sizes are small") {
        fill_order(&transaction, id, &mut mixer);
    }
    let mut insert =
        transaction.prepare_cached("insert into docs values (?1, ?2, ?3, ?4)").expect("prepare");
    for id in 1..=i64::try_from(docs).expect("sizes are small") {
        let (title, body) = (mixer.prose(40), mixer.prose(4096));
        insert.execute(params![id, title, body, mixer.bytes(2048)]).expect("insert");
    }
    drop(insert);
    transaction.commit().expect("commit");
    let truncate = "pragma wal_checkpoint(truncate)";
    conn.query_row(truncate, [], |_| Ok(())).expect("checkpoint");
}

fn fill_order(conn: &Connection, id: i64, mixer: &mut Mixer) {
    const STATUS: [&str; 5] = ["new", "paid", "packed", "shipped", "returned"];
    let drawn = mixer.next();
    let discount = (drawn & 7 == 0).then(|| f64::from((drawn >> 40) as u32 % 1000) / 8.0);
    let status = STATUS[(drawn >> 8) as usize % 5];
    let placed = format!(
        "2024-{:02}-{:02}T{:02}:{:02}:00Z",
        1 + (drawn >> 12) % 12,
        1 + (drawn >> 16) % 28,
        (drawn >> 22) % 24,
        (drawn >> 28) % 60
    );
    let note = mixer.prose(30);
    conn.prepare_cached("insert into orders values (?1, ?2, ?3, ?4, ?5, 'EUR', ?6, ?7)")
        .and_then(|mut insert| {
            let (customer, total) = (mixer.below(50_000), mixer.below(1_000_000));
            insert.execute(params![id, customer, status, placed, total, discount, note])
        })
        .expect("insert an order");
    for line in 1..=2 {
        conn.prepare_cached("insert into items values (?1, ?2, ?3, ?4, ?5)")
            .and_then(|mut insert| {
                let (product, quantity) = (mixer.below(10_000), 1 + mixer.below(9));
                insert.execute(params![id, line, product, quantity, mixer.below(100_000)])
            })
            .expect("insert an item");
    }
}
