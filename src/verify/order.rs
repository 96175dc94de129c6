//! In which order the rows of a table are compared, and how its keys sort.
//!
//! Where both sides sort the keys alike, rows go by stretches of keys and one digest for each
//! stretch travels. Whether they really do is no matter of right and wrong: stretches that follow
//! one another on the source cover all of the target's rows in any order, and rows that seem to
//! differ are read again. It is a matter of how many do.
//!
//! Pure: no I/O.

use std::cmp::Ordering;

use crate::batch::key_json;
use crate::mapping::{MappedColumn, Mapping};
use crate::table::{Affinity, Key as TableKey};
use crate::value::codec::kind::Kind;
use crate::value::{Owned, PgType};

/// The values that name a row, as SQLite holds them.
pub type Key = Vec<Owned>;

/// A key as JSON text. Keys that SQLite calls the same have the same.
pub fn name_of(key: &[Owned]) -> String {
    key_json(key.iter().map(Owned::storage)).to_string()
}

/// How the rows of a table are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By stretches of keys.
    Keys,
    /// By the digests of their keys: nothing else is the same on both sides.
    Digests,
}

impl Order {
    /// Of the rows of this table.
    pub fn of(mapping: &Mapping) -> Self {
        let columns = mapping.key.iter().map(|at| &mapping.columns[*at]);
        let sorts_alike = match &mapping.table.key {
            TableKey::RowidAlias(_) | TableKey::HiddenRowid => {
                columns.into_iter().all(|column| column.pg.is_integer())
            }
            TableKey::Columns(keys) => {
                let is_binary = |at: &usize| {
                    mapping.table.columns[*at].collation.eq_ignore_ascii_case("BINARY")
                };
                keys.iter().all(is_binary)
                    && mapping.table.is_key_ascending()
                    && columns.into_iter().all(|column| sorts_alike(column, mapping.is_adopted))
            }
        };
        if sorts_alike { Self::Keys } else { Self::Digests }
    }
}

/// Whether a column's values have the same order on both sides, bytes or numbers as they are.
fn sorts_alike(column: &MappedColumn, is_adopted: bool) -> bool {
    let kind = column.pg.set().map(|codec| &codec.target().kind);
    let is_plain_text = match kind {
        None => column.pg.chosen() == Some(PgType::Text),
        Some(kind) => matches!(kind, Kind::Text | Kind::Varchar(_)),
    };
    let is_bytes = match kind {
        None => column.pg.chosen() == Some(PgType::Bytea),
        Some(kind) => matches!(kind, Kind::Bytea),
    };
    match column.affinity {
        Affinity::Integer | Affinity::Numeric => column.pg.is_integer(),
        // Only create mode gives texts the collation "C".
        Affinity::Text if is_plain_text => !is_adopted,
        Affinity::Text => matches!(kind, Some(Kind::Uuid)),
        Affinity::Blob => is_bytes,
        Affinity::Real => false,
    }
}

/// A key that sorts as SQLite sorts it: numbers before texts before blobs, each by value or bytes
/// (<https://www.sqlite.org/datatype3.html#sort_order>).
#[derive(Clone, Debug)]
pub struct Sorted(pub Key);

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sorted {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Sorted {}

/// The order of two keys.
pub fn compare(one: &[Owned], other: &[Owned]) -> Ordering {
    let values = one.iter().zip(other).map(|(one, other)| compare_values(one, other));
    values.fold(Ordering::Equal, Ordering::then)
}

fn compare_values(one: &Owned, other: &Owned) -> Ordering {
    let class = |value: &Owned| match value {
        Owned::Null => 0,
        Owned::Integer(_) | Owned::Real(_) => 1,
        Owned::Text(_) => 2,
        Owned::Blob(_) => 3,
    };
    match (one, other) {
        (Owned::Integer(one), Owned::Integer(other)) => one.cmp(other),
        (Owned::Real(one), Owned::Real(other)) => one.total_cmp(other),
        (Owned::Integer(one), Owned::Real(other)) => compare_mixed(*one, *other),
        (Owned::Real(one), Owned::Integer(other)) => compare_mixed(*other, *one).reverse(),
        (Owned::Text(one), Owned::Text(other)) | (Owned::Blob(one), Owned::Blob(other)) => {
            one.cmp(other)
        }
        (one, other) => class(one).cmp(&class(other)),
    }
}

/// An integer against a real: by value as near as a double can tell, then by class, so that no two
/// keys of different storage classes count as one.
fn compare_mixed(integer: i64, real: f64) -> Ordering {
    #[expect(clippy::cast_precision_loss, reason = "a tie is broken by the class")]
    (integer as f64).total_cmp(&real).then(Ordering::Less)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_sqlite_sorts_them() {
        let sorted = [
            vec![Owned::Null],
            vec![Owned::Integer(i64::MIN)],
            vec![Owned::Real(-0.5)],
            vec![Owned::Integer(0)],
            vec![Owned::Real(0.25)],
            vec![Owned::Integer(i64::MAX)],
            vec![Owned::Text(b"A".to_vec())],
            vec![Owned::Text(b"a".to_vec())],
            vec![Owned::Text(b"aa".to_vec())],
            vec![Owned::Blob(vec![])],
            vec![Owned::Blob(vec![0xff])],
        ];
        for (at, one) in sorted.iter().enumerate() {
            for (other_at, other) in sorted.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at), "{one:?} {other:?}");
            }
        }
        let pair = |a: i64, b: &str| vec![Owned::Integer(a), Owned::Text(b.into())];
        assert_eq!(compare(&pair(1, "b"), &pair(2, "a")), Ordering::Less);
        assert_eq!(compare(&pair(1, "b"), &pair(1, "a")), Ordering::Greater);
    }
}
