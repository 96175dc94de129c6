//! Lineage stops in the ledger: what happened, and what was decided about it.
//!
//! A decision changes both sides, and no transaction spans them. So it is written down first, with
//! the place that the file is going to have; then the file is changed, in one transaction; then
//! the position moves. Whoever comes after a crash sees by the file whether the middle step
//! happened: if the file is at that place, the last step is taken; if not, nothing was.

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use super::{Error, chunks, in_utc, ledger, trail};
use crate::change::{Anchor, Lineage, Place, Position};

/// What is done about a broken lineage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// What PostgreSQL has and the file has lost goes into the file.
    Restore,
    /// The file is right, and PostgreSQL follows it.
    Accept,
}

impl Choice {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Accept => "accept",
        }
    }
}

/// A decision that is being carried out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What was chosen.
    pub choice: Choice,
    /// The incident it is about.
    pub incident: i64,
    /// Who decided.
    pub decided_by: String,
    /// Whose history the file has from then on,
    pub source_id: String,
    /// which generation of it,
    pub generation: i64,
    /// where it begins,
    pub position: i64,
    /// the token of the entry there,
    pub token: i64,
    /// and how far the entries reach that make the target follow.
    pub read_through: i64,
}

impl Decision {
    /// Where the file is once the decision has been carried out there.
    pub fn place(&self) -> Place {
        Place {
            lineage: Lineage { source_id: self.source_id.clone(), generation: self.generation },
            anchor: Anchor { position: Position(self.position), token: self.token },
        }
    }
}

/// A lineage stop that nobody has decided on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpenStop {
    /// Its number.
    pub id: i64,
    /// When it was noticed first, in UTC.
    pub at: String,
    /// When it was noticed last, in UTC.
    pub last_at: String,
    /// How often.
    pub times: i64,
    /// What kind.
    pub kind: String,
    /// In words.
    pub message: String,
    /// The last good position.
    pub position: Option<Position>,
}

/// Writes down a lineage stop, and returns its number. A run that stops at the same place and for
/// the same kind of reason as the last one adds to that incident, whose words stay.
pub async fn note_stop(
    client: &Client,
    kind: &str,
    position: Option<Position>,
    message: &str,
) -> Result<i64, Error> {
    let position = position.map(|position| position.0);
    client
        .query_one(
            "with again as (
                 update lite2pg.incidents set last_at = now(), times = times + 1
                  where id = (select max(id) from lite2pg.incidents
                               where needs_decision and decided_at is null)
                    and (kind, position) is not distinct from ($1, $2)
                 returning id),
             new as (
                 insert into lite2pg.incidents (kind, position, message, needs_decision)
                 select $1, $2, $3, true where not exists (select from again) returning id)
             select id from again union all select id from new",
            &[&kind, &position, &message],
        )
        .await
        .map(|row| row.get(0))
        .map_err(Error::query("write down a lineage stop"))
}

/// The newest lineage stop, if nobody has decided on it.
pub async fn open_stop(client: &Client) -> Result<Option<OpenStop>, Error> {
    let row = client
        .query_opt(
            &format!(
                "select id, {}, {}, times, kind, message, position from lite2pg.incidents
                  where needs_decision and decided_at is null order by id desc limit 1",
                in_utc("at"),
                in_utc("last_at")
            ),
            &[],
        )
        .await
        .map_err(Error::query("look for a lineage stop"))?;
    Ok(row.map(|row| OpenStop {
        id: row.get(0),
        at: row.get(1),
        last_at: row.get(2),
        times: row.get(3),
        kind: row.get(4),
        message: row.get(5),
        position: row.get::<_, Option<i64>>(6).map(Position),
    }))
}

/// Closes every open lineage stop: says what was decided, and by whom.
pub async fn close_stops(client: &Client, decision: &str, decided_by: &str) -> Result<u64, Error> {
    client
        .execute(
            "update lite2pg.incidents set decision = $1, decided_by = $2, decided_at = now()
              where needs_decision and decided_at is null",
            &[&decision, &decided_by],
        )
        .await
        .map_err(Error::query("write down a decision"))
}

/// The decision that is being carried out, if one is.
pub async fn pending(client: &Client) -> Result<Option<Decision>, Error> {
    let doing = "look for a decision";
    let row = client
        .query_opt(
            "select decision::text from lite2pg.position where id = 1 and decision is not null",
            &[],
        )
        .await
        .map_err(Error::query(doing))?;
    let parse = |row: tokio_postgres::Row| {
        serde_json::from_str(row.get::<_, &str>(0))
            .map_err(|error| Error::Position { what: format!("the decision there: {error}") })
    };
    row.map(parse).transpose()
}

/// Writes down a decision before it is carried out.
pub async fn begin(client: &Client, epoch: i64, decision: &Decision) -> Result<(), Error> {
    let json = serde_json::to_string(decision).expect("a decision is JSON");
    let noted = client
        .execute(
            "update lite2pg.position set decision = $2::text::jsonb where id = 1 and epoch = $1",
            &[&epoch, &json],
        )
        .await
        .map_err(Error::query("write down a decision"))?;
    if noted == 1 { Ok(()) } else { Err(ledger::lost_claim(client, epoch).await?) }
}

/// Moves the target to where the file is, by a decision that has been carried out there. One
/// transaction; of what was proven in the former generation nothing counts any more.
pub async fn finish(client: &Client, decision: &Decision) -> Result<(), Error> {
    let doing = "carry out a decision";
    client.batch_execute("begin").await.map_err(Error::query(doing))?;
    let moved = move_position(client, decision).await;
    let end = if moved.is_ok() { "commit" } else { "rollback" };
    client.batch_execute(end).await.map_err(Error::query(doing))?;
    moved
}

async fn move_position(client: &Client, decision: &Decision) -> Result<(), Error> {
    let place = decision.place();
    client
        .execute(
            "update lite2pg.position
                set source_id = $1, generation = $2, applied = $3::bigint, token = $4,
                    read_through = greatest($3, $5::bigint),
                    consistent = $5::bigint <= $3::bigint, decision = null,
                    applied_at = now()
              where id = 1 and decision is not null",
            &[
                &decision.source_id,
                &decision.generation,
                &decision.position,
                &decision.token,
                &decision.read_through,
            ],
        )
        .await
        .map_err(Error::query("move the position by a decision"))?;
    trail::begin_at(client, place.anchor).await?;
    chunks::forget_all(client).await?;
    close_stops(client, decision.choice.as_str(), &decision.decided_by).await.map(drop)
}
