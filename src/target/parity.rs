//! Run the application's own queries on the target, to hold them against SQLite's.
//!
//! A query is prepared twice: as it is, which is what is timed, and with every column cast to text
//! by the server, which is what is compared. Parameters travel as text, so that the server reads
//! them as whatever type it inferred. Every run is in a transaction that only reads and that ends
//! a statement after its time.

use std::error::Error as StdError;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use futures_util::{TryStreamExt, pin_mut};
use postgres_types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

use super::Error;
use super::proof::in_snapshot;
use crate::table::Ident;
use crate::value::{Answer, BYTES_MAX, Gathered, Owned, ROWS_MAX};

/// A query, prepared.
pub struct Prepared {
    plain: Statement,
    rendered: Statement,
    /// What it gives.
    pub columns: Vec<Column>,
    target_schema: String,
    timeout: Duration,
}

/// One column of a result.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name on PostgreSQL.
    pub name: String,
    /// What its text means.
    pub kind: Kind,
}

/// What the text of a column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An integer, or a boolean as 1 and 0.
    Integer,
    /// A number with a fraction.
    Number,
    /// A moment, with or without its zone.
    Moment,
    /// A UUID, in lowercase.
    Uuid,
    /// Whatever its text is.
    Text,
}

impl Kind {
    fn of(pg: &Type) -> Self {
        match *pg {
            Type::INT2 | Type::INT4 | Type::INT8 | Type::OID | Type::BOOL => Self::Integer,
            Type::NUMERIC | Type::FLOAT4 | Type::FLOAT8 => Self::Number,
            Type::TIMESTAMP | Type::TIMESTAMPTZ => Self::Moment,
            Type::UUID => Self::Uuid,
            _ => Self::Text,
        }
    }
}

const DOING: &str = "ask what the configuration asks";

/// Prepares a query, whose names are looked for in the target schema first.
pub async fn prepare(
    client: &Client,
    target_schema: &str,
    sql: &str,
    timeout: Duration,
) -> Result<Prepared, Error> {
    in_snapshot(client, async {
        restrict(client, target_schema, timeout).await?;
        let plain = client.prepare(sql).await.map_err(Error::query(DOING))?;
        let names: Vec<String> = (1..=plain.columns().len()).map(|n| format!("c{n}")).collect();
        let cells = plain.columns().iter().zip(&names).map(|(column, name)| {
            let cast = if *column.type_() == Type::BOOL { "::int::text" } else { "::text" };
            format!("{name}{cast}")
        });
        let rendered = format!(
            "select {} from (\n{}\n) q ({})",
            cells.collect::<Vec<_>>().join(", "),
            sql.trim_end().trim_end_matches(';'),
            names.join(", ")
        );
        let rendered = client.prepare(&rendered).await.map_err(Error::query(DOING))?;
        let columns = plain.columns().iter().map(|column| Column {
            name: column.name().to_owned(),
            kind: Kind::of(column.type_()),
        });
        let columns = columns.collect();
        let target_schema = target_schema.to_owned();
        Ok(Prepared { plain, rendered, columns, target_schema, timeout })
    })
    .await
}

impl Prepared {
    /// How many parameters it takes.
    pub fn parameters_taken(&self) -> usize {
        self.plain.params().len()
    }

    /// The rows that it gives, as text, in the snapshot that `client` is in.
    pub async fn gather(
        &self,
        client: &Client,
        parameters: &[Owned],
    ) -> Result<Gathered<Answer>, Error> {
        restrict(client, &self.target_schema, self.timeout).await?;
        within_time(self.fetch(client, parameters).await)
    }

    async fn fetch(
        &self,
        client: &Client,
        parameters: &[Owned],
    ) -> Result<Gathered<Answer>, Error> {
        let rows = client
            .query_raw(&self.rendered, parameters.iter().map(AsText))
            .await
            .map_err(Error::query(DOING))?;
        pin_mut!(rows);
        let (mut answer, mut bytes) = (Answer::new(), 0);
        while let Some(row) = rows.try_next().await.map_err(Error::query(DOING))? {
            let cells: Vec<Option<String>> = (0..row.len()).map(|at| row.get(at)).collect();
            bytes += cells.iter().flatten().map(String::len).sum::<usize>();
            answer.push(cells);
            if ROWS_MAX < answer.len() || BYTES_MAX < bytes {
                return Ok(Gathered::TooLarge);
            }
        }
        Ok(Gathered::Whole(answer))
    }

    /// How long it takes from the first byte sent to the last row received, prepared.
    pub async fn time(
        &self,
        client: &Client,
        parameters: &[Owned],
    ) -> Result<Gathered<Duration>, Error> {
        let timed = in_snapshot(client, async {
            restrict(client, &self.target_schema, self.timeout).await?;
            let begun = Instant::now();
            let rows = client
                .query_raw(&self.plain, parameters.iter().map(AsText))
                .await
                .map_err(Error::query(DOING))?;
            pin_mut!(rows);
            while rows.try_next().await.map_err(Error::query(DOING))?.is_some() {}
            Ok(Gathered::Whole(begun.elapsed()))
        });
        within_time(timed.await)
    }
}

async fn restrict(client: &Client, target_schema: &str, timeout: Duration) -> Result<(), Error> {
    // Zero would mean no limit.
    let milliseconds = timeout.as_millis().clamp(1, i32::MAX as u128);
    let settings = format!(
        "set local search_path = {}, public; set local statement_timeout = {milliseconds}",
        Ident::new(target_schema)
    );
    client.batch_execute(&settings).await.map_err(Error::query(DOING))
}

fn within_time<T>(outcome: Result<Gathered<T>, Error>) -> Result<Gathered<T>, Error> {
    match outcome {
        Err(error) if error.is(&SqlState::QUERY_CANCELED) => Ok(Gathered::TooSlow),
        outcome => outcome,
    }
}

/// A value of SQLite's, for the server to read as the type that it inferred.
#[derive(Debug)]
struct AsText<'a>(&'a Owned);

impl ToSql for AsText<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self.0 {
            Owned::Null => return Ok(IsNull::Yes),
            Owned::Text(text) => out.put_slice(text),
            other => out.put_slice(other.shown().as_bytes()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}
