//! Which chunks are read whole this time, and which rows are compared one by one.
//!
//! Every change since a chunk was proven has an entry in the changelog, so comparing the rows that
//! those name proves the chunk anew; it costs what the changes cost. Rows that only others have
//! touched have no entry. They are found when their chunk's turn comes: each time a share of the
//! oldest is read whole, so that all are within [`Wants::Share`]'s time.
//!
//! Pure: no I/O, no clock.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::time::Duration;

use super::order::{Key, Order, Sorted};
use crate::batch::{KeyImage, encode_key, key_of_json};
use crate::mapping::Mapping;
use crate::source::copy::Cursor;
use crate::table::Key as TableKey;
use crate::target::chunks::Chunk;
use crate::value::Owned;

/// Tables up to so many rows are read whole every time.
pub const SMALL_ROWS: i64 = 10_000;

/// To find a row by its key costs about so many rows in a row.
const SINGLE_COSTS: i64 = 8;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wants {
    /// Everything.
    All,
    /// What changed, and a share of the rest, so that all of it is read whole within this time.
    Share {
        /// The time.
        reread: Duration,
    },
}

/// The rows of a table that have entries in the changelog since its chunks were proven.
#[derive(Clone, Debug, PartialEq)]
pub enum Touched {
    /// These.
    Keys(BTreeSet<Sorted>),
    /// Too many to hold, or some of the entries have been pruned.
    Unknown,
}

/// What is done with one chunk.
#[derive(Clone, Debug, PartialEq)]
pub enum Due {
    /// It is read whole.
    Whole,
    /// These of its rows are compared, which may be none.
    Keys(Vec<Key>),
}

/// Says for each chunk of a table which of its rows were touched, and asks for no more.
pub fn of_touched(chunks: &[Chunk], touched: Touched) -> Vec<Due> {
    match touched {
        Touched::Unknown => vec![Due::Whole; chunks.len()],
        Touched::Keys(keys) => by_chunk(chunks, keys).into_iter().map(Due::Keys).collect(),
    }
}

/// Says for each chunk of a table what is due.
///
/// At least one chunk of every table is read whole, the oldest, except where all chunks are one and
/// its turn has not come; a sample of its rows is compared then.
pub fn choose(chunks: &[Chunk], order: Order, touched: Touched, wants: Wants) -> Vec<Due> {
    let mut due = of_touched(chunks, touched);
    let rows: i64 = chunks.iter().map(|chunk| chunk.content.rows).sum();
    // How many rows a chunk has that was never read, nobody knows.
    let is_small = rows <= SMALL_ROWS && chunks.iter().all(|chunk| chunk.position.is_some());
    for (chunk, due) in chunks.iter().zip(&mut due) {
        let touched = match due {
            Due::Whole => continue,
            Due::Keys(keys) => i64::try_from(keys.len()).unwrap_or(i64::MAX),
        };
        let is_of_pass = chunk.read.as_ref().is_some_and(|read| read.is_of_pass);
        let is_dense = chunk.content.rows <= touched.saturating_mul(SINGLE_COSTS) && 0 < touched;
        let is_whole = chunk.position.is_none()
            || !chunk.is_equal
            || is_dense
            || is_small
            || wants == Wants::All && !is_of_pass;
        if is_whole {
            *due = Due::Whole;
        }
    }
    if let Wants::Share { reread } = wants {
        add_share(chunks, order, reread.as_secs_f64(), &mut due);
    }
    due
}

/// Adds the oldest chunks, as many as the time since the last reading asks for.
fn add_share(chunks: &[Chunk], order: Order, reread: f64, due: &mut [Due]) {
    let age = |chunk: &Chunk| chunk.read.as_ref().map_or(f64::INFINITY, |read| read.age);
    let rows = |chunk: &Chunk| chunk.content.rows.max(1);
    let since = chunks.iter().map(age).fold(f64::INFINITY, f64::min);
    let share = if reread == 0.0 { 1.0 } else { (since / reread).clamp(0.0, 1.0) };
    #[expect(clippy::cast_precision_loss, reason = "a share is about")]
    let wanted = share * chunks.iter().map(rows).sum::<i64>() as f64;
    let mut oldest: Vec<usize> = (0..chunks.len()).collect();
    oldest.sort_by(|one, other| age(&chunks[*other]).total_cmp(&age(&chunks[*one])));
    let mut taken = 0.0;
    for at in oldest {
        let is_overdue = reread <= age(&chunks[at]);
        let is_wanted = order == Order::Keys && (taken < wanted || taken == 0.0);
        if is_overdue || is_wanted {
            #[expect(clippy::cast_precision_loss, reason = "a share is about")]
            let more = rows(&chunks[at]) as f64;
            taken += more;
            due[at] = Due::Whole;
        }
    }
}

/// The keys, each with the chunk it belongs to. A bound that cannot be read takes none: whatever
/// lies behind it belongs to the chunk after it, and is compared all the same.
fn by_chunk(chunks: &[Chunk], keys: BTreeSet<Sorted>) -> Vec<Vec<Key>> {
    let mut found = vec![Vec::new(); chunks.len()];
    let until: Vec<Option<Sorted>> =
        chunks.iter().map(|chunk| bound(chunk.until.as_deref())).collect();
    let mut at = 0;
    for key in keys {
        while at + 1 < chunks.len() && until[at].as_ref().is_none_or(|until| *until < key) {
            at += 1;
        }
        if let Some(keys) = found.get_mut(at) {
            keys.push(key.0);
        }
    }
    found
}

/// Whether any of these keys belongs to a chunk.
pub fn has_any(chunk: &Chunk, keys: &BTreeSet<Sorted>) -> bool {
    let (after, until) = (bound(chunk.after.as_deref()), bound(chunk.until.as_deref()));
    let is_empty = after.as_ref().zip(until.as_ref()).is_some_and(|(after, until)| until <= after);
    let range = (
        after.map_or(Bound::Unbounded, Bound::Excluded),
        until.map_or(Bound::Unbounded, Bound::Included),
    );
    !is_empty && keys.range(range).next().is_some()
}

/// Where the source is to be read from, or to; the least and the greatest where nothing is said.
pub fn cursor(json: Option<&str>, mapping: &Mapping) -> Cursor {
    match (bound(json), &mapping.table.key) {
        (None, _) => Cursor::Start,
        (Some(Sorted(key)), TableKey::Columns(_)) => Cursor::Key(key),
        (Some(Sorted(key)), TableKey::RowidAlias(_) | TableKey::HiddenRowid) => match key[..] {
            [Owned::Integer(rowid)] => Cursor::Rowid(rowid),
            _ => Cursor::Start,
        },
    }
}

/// The same on the target.
pub fn bound_image(json: Option<&str>, mapping: &Mapping) -> Option<KeyImage> {
    let Sorted(key) = bound(json)?;
    encode_key(mapping, |at| key[at].storage()).ok()
}

/// The key that stands at the bound of a chunk.
pub fn bound(json: Option<&str>) -> Option<Sorted> {
    let json = serde_json::from_str(json?).ok()?;
    key_of_json(&json).map(Sorted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Position;
    use crate::target::chunks::{Content, Read};

    const DAY: Wants = Wants::Share { reread: Duration::from_secs(24 * 3600) };

    /// Chunks of 100,000 rows each, as many as there are ages in hours.
    fn chunks(ages: &[f64]) -> Vec<Chunk> {
        let bound = |at: usize| (0 < at && at < ages.len()).then(|| format!("[{}]", at * 100_000));
        let chunk = |(at, age): (usize, &f64)| Chunk {
            id: at as i64,
            after: bound(at),
            until: bound(at + 1),
            position: Some(Position(7)),
            read: Some(Read {
                at: String::new(),
                age: age * 3600.0,
                position: Position(7),
                is_of_pass: false,
            }),
            content: Content { rows: 100_000, bytes: 0, checksum: String::new() },
            is_equal: true,
        };
        ages.iter().enumerate().map(chunk).collect()
    }

    fn touched(keys: impl IntoIterator<Item = i64>) -> Touched {
        Touched::Keys(keys.into_iter().map(|key| Sorted(vec![Owned::Integer(key)])).collect())
    }

    /// `W` for whole, otherwise how many keys.
    fn shown(due: &[Due]) -> String {
        let words = due.iter().map(|due| match due {
            Due::Whole => "W".to_owned(),
            Due::Keys(keys) => keys.len().to_string(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_hourly_run_reads_what_changed_and_a_share_of_the_oldest() {
        let four = chunks(&[1.0, 3.0, 2.0, 1.0]);
        let choose = |chunks: &[Chunk], touched, wants| {
            shown(&super::choose(chunks, Order::Keys, touched, wants))
        };
        assert_eq!(choose(&four, touched([]), DAY), "0 W 0 0", "the oldest, at least");
        let keys = [1, 2, 100_000, 100_001, 400_000, i64::MAX];
        assert_eq!(choose(&four, touched(keys), DAY), "3 W 0 2");
        assert_eq!(choose(&four, touched(1..=50_000), DAY), "W W 0 0", "many side by side");
        assert_eq!(choose(&four, Touched::Unknown, DAY), "W W W W");
        assert_eq!(choose(&four, touched([]), Wants::All), "W W W W");
        let after_a_night = chunks(&[13.0, 14.0, 12.0, 12.0]);
        assert_eq!(choose(&after_a_night, touched([]), DAY), "W W 0 0", "half a day, half of it");
        let overdue = chunks(&[25.0, 1.0, 30.0, 24.5]);
        assert_eq!(choose(&overdue, touched([]), DAY), "W 0 W W");
        let at_once = Wants::Share { reread: Duration::ZERO };
        assert_eq!(choose(&four, touched([]), at_once), "W W W W");
    }

    #[test]
    fn what_is_not_proven_is_read_whole() {
        let mut three = chunks(&[0.1, 0.2, 0.3]);
        three[0].is_equal = false;
        three[1].position = None;
        let due = choose(&three, Order::Keys, touched([]), DAY);
        assert_eq!(shown(&due), "W W W");
        let mut small = chunks(&[0.1]);
        small[0].content.rows = SMALL_ROWS;
        assert_eq!(shown(&choose(&small, Order::Keys, touched([1]), DAY)), "W");
    }

    #[test]
    fn a_pass_that_was_ended_goes_on() {
        let mut three = chunks(&[0.1, 0.1, 5.0]);
        for chunk in &mut three[..2] {
            chunk.read.as_mut().expect("it was read").is_of_pass = true;
            chunk.content.rows = 1_000;
        }
        three[2] =
            Chunk { position: None, read: None, content: Content::default(), ..three[2].clone() };
        let due = choose(&three, Order::Keys, touched([5]), Wants::All);
        assert_eq!(shown(&due), "1 0 W");
    }

    #[test]
    fn a_key_belongs_to_one_chunk() {
        let three = chunks(&[1.0, 1.0, 1.0]);
        let of = |key| {
            let keys = BTreeSet::from([Sorted(vec![Owned::Integer(key)])]);
            three.iter().map(|chunk| has_any(chunk, &keys)).collect::<Vec<_>>()
        };
        assert_eq!(of(i64::MIN), [true, false, false]);
        assert_eq!(of(100_000), [true, false, false]);
        assert_eq!(of(100_001), [false, true, false]);
        assert_eq!(of(200_000), [false, true, false]);
        assert_eq!(of(i64::MAX), [false, false, true]);
        assert!(!three.iter().any(|chunk| has_any(chunk, &BTreeSet::new())));
    }

    #[test]
    fn a_table_in_no_order_is_read_whole_when_its_turn_comes() {
        let one = |age| choose(&chunks(&[age]), Order::Digests, touched([1, 2]), DAY);
        assert_eq!(shown(&one(3.0)), "2");
        assert_eq!(shown(&one(24.1)), "W");
    }
}
