//! Which rows have entries in the changelog since their chunks were proven.

use std::collections::{BTreeSet, HashMap};

use super::due::Touched;
use super::order::{Key, Sorted};
use super::{Error, Sides};
use crate::change::{Position, TableId};
use crate::source::proof::TouchedPage;
use crate::value::Owned;

/// Bytes of keys that are held in memory, of all tables together. Where more rows changed, the
/// tables with the most are read whole, which costs little more by then.
const HELD_MAX: usize = 40 << 20;

/// What a value of a key takes beside its text or blob: itself, its share of a vector and a set.
const VALUE_BYTES: usize = 96;

/// The rows that were touched after the position that is named for each table.
pub(super) async fn since(
    sides: &Sides,
    positions: &HashMap<TableId, Position>,
) -> Result<HashMap<TableId, Touched>, Error> {
    let mut collected = Collected::since(positions, HELD_MAX);
    let mut next = positions.values().min().copied();
    while let Some(after) = next {
        let plan = sides.plan.clone();
        let page = sides.source.run(move |source| source.touched_page(&plan, after)).await?;
        next = (page.through != after).then_some(page.through);
        collected.add(page);
        if collected.tables.values().all(|table| table.keys.is_none()) {
            break;
        }
    }
    Ok(collected.tables.into_iter().map(|(id, table)| (id, table.touched())).collect())
}

/// Keys of some tables, no more than memory may hold.
struct Collected {
    tables: HashMap<TableId, Table>,
    bytes_max: usize,
}

struct Table {
    /// The position after which entries count.
    from: Position,
    /// `None` once nobody can say which rows were touched.
    keys: Option<BTreeSet<Sorted>>,
    bytes: usize,
}

impl Table {
    fn give_up(&mut self) {
        (self.keys, self.bytes) = (None, 0);
    }

    fn touched(self) -> Touched {
        self.keys.map_or(Touched::Unknown, Touched::Keys)
    }
}

impl Collected {
    fn since(positions: &HashMap<TableId, Position>, bytes_max: usize) -> Self {
        let table = |from: &Position| Table { from: *from, keys: Some(BTreeSet::new()), bytes: 0 };
        let tables = positions.iter().map(|(id, from)| (*id, table(from))).collect();
        Self { tables, bytes_max }
    }

    fn add(&mut self, page: TouchedPage) {
        for table in self.tables.values_mut() {
            // The entry after the position must still be there, or others may be missing, too.
            if table.from.0 + 1 < page.oldest.0 {
                table.give_up();
            }
        }
        for (id, position, key) in page.keys {
            let Some(table) = self.tables.get_mut(&id) else { continue };
            if let Some(keys) = table.keys.as_mut().filter(|_| table.from < position) {
                let bytes = size(&key);
                table.bytes += if keys.insert(Sorted(key)) { bytes } else { 0 };
            }
        }
        while self.bytes_max < self.tables.values().map(|table| table.bytes).sum() {
            let largest = self.tables.values_mut().max_by_key(|table| table.bytes);
            largest.expect("some table holds something").give_up();
        }
    }
}

fn size(key: &Key) -> usize {
    let texts = key.iter().map(|value| match value {
        Owned::Text(bytes) | Owned::Blob(bytes) => bytes.len(),
        Owned::Null | Owned::Integer(_) | Owned::Real(_) => 0,
    });
    VALUE_BYTES * key.len() + texts.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: TableId = TableId(1);
    const TWO: TableId = TableId(2);

    fn page(oldest: i64, keys: &[(TableId, i64, i64)]) -> TouchedPage {
        let key =
            |(id, at, key): &(TableId, i64, i64)| (*id, Position(*at), vec![Owned::Integer(*key)]);
        let through = Position(keys.last().map_or(0, |last| last.1));
        TouchedPage { keys: keys.iter().map(key).collect(), through, oldest: Position(oldest) }
    }

    /// How many keys of either table; `None` where nobody can say.
    fn counts(collected: &Collected) -> [Option<usize>; 2] {
        [ONE, TWO].map(|id| collected.tables[&id].keys.as_ref().map(BTreeSet::len))
    }

    #[test]
    fn each_row_counts_once_and_only_after_its_tables_position() {
        let positions = HashMap::from([(ONE, Position(10)), (TWO, Position(12))]);
        let mut collected = Collected::since(&positions, usize::MAX);
        collected.add(page(1, &[(ONE, 11, 5), (TWO, 12, 5), (ONE, 13, 5), (TWO, 14, 6)]));
        collected.add(page(1, &[(TWO, 15, 6), (ONE, 16, 7), (TableId(9), 17, 1)]));
        assert_eq!(counts(&collected), [Some(2), Some(1)]);
    }

    #[test]
    fn where_entries_are_gone_nobody_can_say() {
        let positions = HashMap::from([(ONE, Position(10)), (TWO, Position(12))]);
        let mut collected = Collected::since(&positions, usize::MAX);
        collected.add(page(11, &[(ONE, 11, 5), (TWO, 13, 5)]));
        assert_eq!(counts(&collected), [Some(1), Some(1)], "none that counts is missing");
        // Pruned while they were read.
        collected.add(page(12, &[(ONE, 14, 6), (TWO, 15, 6)]));
        assert_eq!(counts(&collected), [None, Some(2)]);
    }

    #[test]
    fn the_table_with_the_most_keys_is_given_up_first() {
        let positions = HashMap::from([(ONE, Position(0)), (TWO, Position(0))]);
        let mut collected = Collected::since(&positions, 100 * VALUE_BYTES);
        let keys = |id, from: i64, count| {
            let keys: Vec<_> = (from..from + count).map(|n| (id, n, n)).collect();
            page(1, &keys)
        };
        collected.add(keys(ONE, 1, 60));
        collected.add(keys(TWO, 100, 40));
        assert_eq!(counts(&collected), [Some(60), Some(40)]);
        collected.add(keys(TWO, 200, 1));
        assert_eq!(counts(&collected), [None, Some(41)]);
        collected.add(keys(TWO, 300, 60));
        assert_eq!(counts(&collected), [None, None]);
        collected.add(keys(ONE, 400, 5));
        assert_eq!(counts(&collected), [None, None], "it does not come back half");
    }
}
