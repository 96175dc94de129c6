//! What the demo's writer does, kind by kind: the ways in which old applications write.
//!
//! Every kind is one function that decides by its dice and runs one transaction. Four clerks share
//! the kinds out among them, each with a connection and dice of its own.

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, TransactionBehavior};
use rusqlite::{Error, Params, Result, params};

use super::dice::Dice;
use super::shop::{self, ACCOUNTS, CARRIERS, PRODUCTS, SHELVES};

/// Who writes, each over one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clerk {
    /// Takes orders.
    Web,
    /// Ships, restocks and moves things about.
    Warehouse,
    /// Books, renames and imports.
    Office,
    /// Cleans up.
    Night,
}

pub(super) const CLERKS: [Clerk; 4] = [Clerk::Web, Clerk::Warehouse, Clerk::Office, Clerk::Night];

/// One way of writing.
pub(super) struct Kind {
    pub name: &'static str,
    /// What happens, for somebody who watches.
    pub what: &'static str,
    pub by: Clerk,
    /// How often it is in one round of its clerk.
    pub share: usize,
    pub act: fn(&Connection, &mut Dice) -> Result<()>,
}

const fn kind(
    name: &'static str,
    by: Clerk,
    share: usize,
    act: fn(&Connection, &mut Dice) -> Result<()>,
    what: &'static str,
) -> Kind {
    Kind { name, what, by, share, act }
}

/// All of them, in the order in which they are reported.
pub(super) const KINDS: [Kind; 17] = [
    kind("new orders", Clerk::Web, 8, new_order, "an order, its lines and its stock together"),
    kind("upserts", Clerk::Web, 4, upsert, "INSERT ... ON CONFLICT DO UPDATE"),
    kind("insert or ignore", Clerk::Web, 2, insert_or_ignore, "customers, half of them known"),
    kind("insert or replace", Clerk::Office, 4, insert_or_replace, "deletes the row in its way"),
    kind("update or ignore", Clerk::Office, 2, update_or_ignore, "gives way if it is taken"),
    kind("update or replace", Clerk::Warehouse, 1, update_or_replace, "or deletes what took it"),
    kind("updates", Clerk::Warehouse, 5, restock, "stock, which a trigger writes to a log"),
    kind("bulk updates", Clerk::Night, 1, bulk_update, "one statement, hundreds of rows"),
    kind("shipments", Clerk::Warehouse, 4, ship_orders, "several orders in one transaction"),
    kind("transfers", Clerk::Office, 6, transfer, "money leaves one account, reaches another"),
    kind("swaps", Clerk::Warehouse, 2, swap, "two shelves trade their unique places"),
    kind("key changes", Clerk::Office, 2, change_key, "a new SKU, which cascades to order lines"),
    kind("deletes", Clerk::Night, 3, delete, "old log lines and cancelled orders"),
    kind("cascading deletes", Clerk::Night, 1, delete_customer, "a customer, all orders with it"),
    kind("savepoints", Clerk::Night, 3, savepoint, "half of a transaction undone"),
    kind("rollbacks", Clerk::Web, 2, roll_back, "all of it undone: nothing may arrive"),
    kind("refusals", Clerk::Web, 1, refused, "a CHECK or a foreign key says no"),
];

/// Runs `work` in a transaction that takes the write lock first, so that it cannot fail later.
fn write(conn: &Connection, work: impl FnOnce(&Transaction<'_>) -> Result<()>) -> Result<()> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    work(&transaction)?;
    transaction.commit()
}

fn run(conn: &Connection, sql: &str, values: impl Params) -> Result<usize> {
    conn.prepare_cached(sql)?.execute(values)
}

/// One value of a random row that `condition` allows, if there is any.
fn any<T: rusqlite::types::FromSql>(
    conn: &Connection,
    dice: &mut Dice,
    column_of: (&str, &str),
    condition: &str,
) -> Result<Option<T>> {
    let (column, table) = column_of;
    let count: i64 = conn
        .prepare_cached(&format!("select count(*) from {table} where {condition}"))?
        .query_row([], |row| row.get(0))?;
    if count == 0 {
        return Ok(None);
    }
    let sql = format!("select {column} from {table} where {condition} order by 1 limit 1 offset ?");
    let offset = dice.between(0, count - 1);
    conn.prepare_cached(&sql)?.query_row([offset], |row| row.get(0)).optional()
}

fn new_order(conn: &Connection, dice: &mut Dice) -> Result<()> {
    write(conn, |conn| {
        let Some(customer) = any(conn, dice, ("id", "customers"), "true")? else { return Ok(()) };
        let order = shop::add_order(conn, dice, customer)?;
        run(
            conn,
            "update products set stock = stock - (select sum(quantity) from order_items
                                                   where order_id = ?1 and sku = products.sku)
              where sku in (select sku from order_items where order_id = ?1)",
            [order],
        )
        .map(drop)
    })
}

fn upsert(conn: &Connection, dice: &mut Dice) -> Result<()> {
    let (page, visits) = (dice.between(1, 40), dice.between(1, 9));
    run(
        conn,
        "insert into settings (name, value) values ('visits of page ' || ?1, ?2)
         on conflict (name) do update set value = value + excluded.value,
                                          changed_at = current_timestamp",
        [page, visits],
    )
    .map(drop)
}

fn insert_or_ignore(conn: &Connection, dice: &mut Dice) -> Result<()> {
    write(conn, |conn| {
        for _ in 0..dice.between(2, 6) {
            let email = match any::<String>(conn, dice, ("email", "customers"), "true")? {
                Some(known) if dice.percent(50) => known,
                _ => format!("n{:08x}@example.org", dice.next() >> 32),
            };
            run(conn, "insert or ignore into customers (email, name) values (?1, ?1)", [email])?;
        }
        Ok(())
    })
}

fn insert_or_replace(conn: &Connection, dice: &mut Dice) -> Result<()> {
    if dice.percent(60) {
        let value = dice.percent(80).then(|| dice.between(0, 1 << 40));
        let sql = "insert or replace into settings (name, value) values ('last_import', ?)";
        return run(conn, sql, [value]).map(drop);
    }
    // A new row, and the one whose order it takes is gone, whatever its key was.
    write(conn, |conn| {
        let Some(order) = any::<i64>(conn, dice, ("order_id", "shipments"), "true")? else {
            return Ok(());
        };
        let tracking = format!("R{:012x}", dice.next() >> 16);
        run(
            conn,
            "insert or replace into shipments (order_id, carrier, tracking) values (?, ?, ?)",
            params![order, dice.pick(&CARRIERS), tracking],
        )
        .map(drop)
    })
}

fn update_or_ignore(conn: &Connection, dice: &mut Dice) -> Result<()> {
    let (one, other) = (dice.between(1, SHELVES), dice.between(1, 2 * SHELVES));
    let sql = "update or ignore shelves set place = char(65 + ?2 % 6) || ?2 where id = ?1";
    run(conn, sql, [one, other]).map(drop)
}

fn update_or_replace(conn: &Connection, dice: &mut Dice) -> Result<()> {
    write(conn, |conn| {
        let (one, other) = (dice.between(1, SHELVES), dice.between(1, SHELVES));
        run(
            conn,
            "update or replace shelves
                set place = coalesce((select place from shelves where id = ?2), place)
              where id = ?1",
            [one, other],
        )?;
        // The shelf that lost its place comes back with another one.
        let place = format!("new {:08x}", dice.next() >> 32);
        let sql = "insert or ignore into shelves (id, place) values (?, ?)";
        run(conn, sql, params![other, place]).map(drop)
    })
}

fn restock(conn: &Connection, dice: &mut Dice) -> Result<()> {
    let product = dice.between(1, PRODUCTS);
    let sql = "update products set stock = stock + ?2, weight_kg = weight_kg * 1.01
                where sku = (select sku from products order by sku limit 1 offset ?1 - 1)";
    run(conn, sql, [product, dice.between(1, 90)]).map(drop)
}

fn bulk_update(conn: &Connection, dice: &mut Dice) -> Result<()> {
    let (share, cents) = (dice.between(9, 25), dice.between(1, 99));
    let sql = "update order_items set price_cents = price_cents + ?2 where order_id % ?1 = 0";
    run(conn, sql, [share, cents]).map(drop)
}

fn ship_orders(conn: &Connection, dice: &mut Dice) -> Result<()> {
    write(conn, |conn| {
        let unshipped = "status = 'new' and id not in (select order_id from shipments)";
        for _ in 0..dice.between(1, 4) {
            if let Some(order) = any(conn, dice, ("id", "orders"), unshipped)? {
                shop::ship(conn, dice, order)?;
            }
        }
        Ok(())
    })
}

fn transfer(conn: &Connection, dice: &mut Dice) -> Result<()> {
    let (payer, step) = (dice.between(1, ACCOUNTS), dice.between(1, ACCOUNTS - 1));
    let payee = (payer - 1 + step) % ACCOUNTS + 1;
    let amount = dice.between(1, 5_000);
    write(conn, |conn| {
        let sql = "update accounts set balance_cents = balance_cents + ?2 where id = ?1";
        run(conn, sql, [payer, -amount])?;
        let log = "insert into transfers (payer, payee, amount_cents) values (?, ?, ?)";
        run(conn, log, [payer, payee, amount])?;
        run(conn, sql, [payee, amount]).map(drop)
    })
}

fn swap(conn: &Connection, dice: &mut Dice) -> Result<()> {
    let (one, other) = (dice.between(1, SHELVES), dice.between(1, SHELVES));
    write(conn, |conn| {
        let place = |id: i64| {
            let mut select = conn.prepare_cached("select place from shelves where id = ?")?;
            select.query_row([id], |row| row.get::<_, String>(0)).optional()
        };
        let (Some(first), Some(second)) = (place(one)?, place(other)?) else { return Ok(()) };
        let sql = "update shelves set place = ?2 where id = ?1";
        run(conn, sql, params![one, "in between"])?;
        run(conn, sql, params![other, first])?;
        run(conn, sql, params![one, if one == other { first } else { second }]).map(drop)
    })
}

fn change_key(conn: &Connection, dice: &mut Dice) -> Result<()> {
    write(conn, |conn| {
        let Some(sku) = any::<String>(conn, dice, ("sku", "products"), "true")? else {
            return Ok(());
        };
        let base = sku.split('/').next().unwrap_or(&sku);
        let renamed = format!("{base}/{}", dice.between(1, 999));
        let sql = "update or ignore products set sku = ?2 where sku = ?1";
        run(conn, sql, params![sku, renamed]).map(drop)
    })
}

fn delete(conn: &Connection, dice: &mut Dice) -> Result<()> {
    match dice.between(1, 3) {
        1 => {
            let sql = "delete from stock_log where rowid in
                           (select rowid from stock_log order by rowid limit ?)";
            run(conn, sql, [dice.between(1, 25)])
        }
        2 => run(conn, "delete from transfers where id % 50 = ?", [dice.between(0, 49)]),
        _ => write(conn, |conn| {
            if let Some(order) = any::<i64>(conn, dice, ("id", "orders"), "status = 'new'")? {
                run(conn, "update orders set status = 'cancelled' where id = ?", [order])?;
                run(conn, "delete from orders where id = ?", [order])?;
            }
            Ok(())
        })
        .map(|()| 1),
    }
    .map(drop)
}

fn delete_customer(conn: &Connection, dice: &mut Dice) -> Result<()> {
    write(conn, |conn| {
        let Some(customer) = any::<i64>(conn, dice, ("id", "customers"), "true")? else {
            return Ok(());
        };
        run(conn, "delete from customers where id = ?", [customer]).map(drop)
    })
}

fn savepoint(conn: &Connection, dice: &mut Dice) -> Result<()> {
    write(conn, |conn| {
        let sql = "update customers set note = ?2 where id % 50 = ?1";
        run(conn, sql, params![dice.between(0, 49), "kept"])?;
        conn.execute_batch("savepoint half")?;
        run(conn, sql, params![dice.between(0, 49), "must never arrive"])?;
        conn.execute_batch("rollback to half; release half")
    })
}

fn roll_back(conn: &Connection, dice: &mut Dice) -> Result<()> {
    let transaction = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    let sql = "update customers set note = 'must never arrive' where id % 20 = ?";
    run(&transaction, sql, [dice.between(0, 19)])?;
    run(&transaction, "delete from transfers where id % 2 = ?", [dice.between(0, 1)])?;
    transaction.rollback()
}

fn refused(conn: &Connection, dice: &mut Dice) -> Result<()> {
    let refused = if dice.percent(50) {
        let sql = "insert into order_items values (1, ?, 'SKU-0001', 0, 1)";
        run(conn, sql, [dice.between(1_000, 9_999)])
    } else {
        run(conn, "insert into orders (number, customer_id) values ('never', ?)", [-1])
    };
    match refused {
        Err(Error::SqliteFailure(failure, _)) if failure.code == ErrorCode::ConstraintViolation => {
            Ok(())
        }
        Err(other) => Err(other),
        Ok(_) => unreachable!("the shop's constraints refuse it"),
    }
}
