//! The demo's database and what is in it before the writer begins.

use std::path::Path;

use rusqlite::{Connection, params};

use super::dice::Dice;

/// How many rows there are at the beginning.
pub(super) const CUSTOMERS: i64 = 400;
pub(super) const PRODUCTS: i64 = 120;
pub(super) const ORDERS: i64 = 2_000;
pub(super) const SHELVES: i64 = 150;
pub(super) const ACCOUNTS: i64 = 20;

/// Carriers, which the writer only refers to.
pub(super) const CARRIERS: [&str; 4] = ["dhl", "gls", "post", "ups"];

/// What the accounts hold together, at every committed moment.
pub(super) const MONEY_CENTS: i64 = ACCOUNTS * ACCOUNT_CENTS;
const ACCOUNT_CENTS: i64 = 100_000;

const NAMES: [&str; 8] = ["Ann", "Bø", "Chloé", "Дарья", "Emre", "O'Neil", "花子", "Zoë"];
const THINGS: [&str; 8] =
    ["Kettle", "Lamp, 60 W", "Rug \"Oslo\"", "Mug", "Bücher-Box", "Chair", "100% wool", "Clock"];

/// Makes the database at `path`, where nothing may be yet. The same seed gives the same rows.
pub(super) fn create(path: &Path, seed: u64) -> rusqlite::Result<()> {
    let mut conn = Connection::open(path)?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "foreign_keys", "on")?;
    let dice = &mut Dice::new(seed, 0);
    let fill = conn.transaction()?;
    fill.execute_batch(include_str!("shop.sql"))?;
    for code in CARRIERS {
        fill.execute(
            "insert into carriers values (?1, upper(?1), 'https://' || ?1 || '.example/?id=')",
            [code],
        )?;
    }
    for id in 1..=CUSTOMERS {
        add_customer(&fill, dice, id)?;
    }
    for id in 1..=PRODUCTS {
        let weight_kg = dice.percent(80).then(|| f64::from(u32::try_from(id).unwrap_or(0)) / 7.0);
        fill.execute(
            "insert into products values (printf('SKU-%04d', ?1), ?2, ?3, ?4, ?5)",
            params![id, dice.pick(&THINGS), dice.between(100, 9_999), weight_kg, 1_000],
        )?;
    }
    for _ in 0..ORDERS {
        let customer = dice.between(1, CUSTOMERS);
        let order = add_order(&fill, dice, customer)?;
        if dice.percent(50) {
            ship(&fill, dice, order)?;
        }
    }
    for id in 1..=SHELVES {
        let sku = dice.between(1, PRODUCTS);
        fill.execute(
            "insert into shelves values (?1, char(65 + ?1 % 6) || ?1, printf('SKU-%04d', ?2))",
            [id, sku],
        )?;
    }
    for id in 1..=ACCOUNTS {
        let owner = dice.pick(&NAMES);
        fill.execute(
            "insert into accounts values (?1, ?2, ?3)",
            params![id, owner, ACCOUNT_CENTS],
        )?;
    }
    fill.execute_batch(
        "insert into settings (name, value) values ('currency', 'EUR'), ('last_import', null),
             ('theme', '{\"dark\": true}'), ('vat_percent', '19')",
    )?;
    fill.commit()?;
    conn.close().map_err(|(_, error)| error)
}

fn add_customer(conn: &Connection, dice: &mut Dice, id: i64) -> rusqlite::Result<()> {
    let note = dice.percent(30).then(|| format!("calls back\n{}", dice.between(1, 99)));
    conn.prepare_cached(
        "insert into customers (id, email, name, is_regular, note)
         values (?1, 'c' || ?1 || '@example.com', ?2, ?3, ?4)",
    )?
    .execute(params![id, dice.pick(&NAMES), dice.percent(20), note])
    .map(drop)
}

/// An order with one to five lines; the caller holds the transaction. Returns its id.
pub(super) fn add_order(
    conn: &Connection,
    dice: &mut Dice,
    customer: i64,
) -> rusqlite::Result<i64> {
    conn.prepare_cached("insert into orders (number, customer_id) values (?1, ?2)")?
        .execute(params![format!("{:016x}", dice.next()), customer])?;
    let order = conn.last_insert_rowid();
    for line in 1..=dice.between(1, 5) {
        // A product may have got another SKU meanwhile; then the line is for another product.
        let sku = format!("SKU-{:04}", dice.between(1, PRODUCTS));
        conn.prepare_cached(
            "insert into order_items (order_id, line, sku, quantity, price_cents)
             select ?1, ?2, sku, ?3, price_cents from products
              where ?4 <= sku order by sku limit 1",
        )?
        .execute(params![order, line, dice.between(1, 9), sku])?;
    }
    Ok(order)
}

/// Sends an order off; the caller holds the transaction.
pub(super) fn ship(conn: &Connection, dice: &mut Dice, order: i64) -> rusqlite::Result<()> {
    let bytes = dice.between(0, 40);
    let label: Vec<u8> = (0..bytes).map(|_| dice.next().to_be_bytes()[0]).collect();
    let label = dice.percent(70).then_some(label);
    conn.prepare_cached(
        "insert into shipments (order_id, carrier, tracking, label) values (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        order,
        dice.pick(&CARRIERS),
        format!("T{:012x}", dice.next() >> 16),
        label
    ])?;
    conn.prepare_cached("update orders set status = 'shipped' where id = ?1")?
        .execute([order])
        .map(drop)
}
