//! Changes in motion: the current contents of touched rows, one image per key.
//!
//! A batch is an end state, not a recipe: for each key either the row's image or the word that it
//! is gone. Order between keys does not matter, and applying it twice changes nothing. Images are
//! PostgreSQL's binary fields, so that COPY, arrays and digests take the same bytes.
//!
//! Pure: no I/O, no clock.

use std::collections::HashMap;

use crate::change::{Anchor, Position};
use crate::mapping::Mapping;
use crate::value::{Misfit, Owned, PgType, Storage};

/// The binary fields of one row, one after the other, in the mapping's column order.
pub type Image = Vec<u8>;

/// The binary fields of a key, in key order. Equal keys have equal bytes.
pub type KeyImage = Vec<u8>;

/// What one read transaction of the source yields.
#[derive(Debug)]
pub struct Batch {
    /// Where it begins: the position it may be applied on.
    pub from: Anchor,
    /// Where it ends.
    pub through: Anchor,
    /// The head at the moment its contents were read. Equal to `through` unless more is to come;
    /// until then the target is between two states of the source.
    pub read_through: Position,
    /// When the last entry was written, in milliseconds since 1970.
    pub newest_ms: i64,
    /// When the first entry was written.
    pub oldest_ms: i64,
    /// Per mapping that was touched: its position in the plan and its rows.
    pub tables: Vec<TableBatch>,
    /// How many changelog entries went into it.
    pub changes: u64,
    /// What the trail keeps of their tokens, entry by entry.
    pub tokens: Vec<u8>,
    /// Bytes of row images.
    pub bytes: usize,
}

/// The touched rows of one table.
#[derive(Debug, Default)]
pub struct TableBatch {
    /// Position of the mapping in the plan.
    pub table: usize,
    /// What became of each key.
    pub rows: HashMap<KeyImage, Row>,
    /// Keys that the target's types cannot hold; nothing can stand under them on the target.
    pub nameless: Vec<Quarantined>,
    /// Keys of that kind whose rows are gone, as they would stand in quarantine.
    pub nameless_gone: Vec<serde_json::Value>,
}

/// What became of a key.
#[derive(Debug)]
pub enum Row {
    /// It is there, with this content.
    Present {
        /// The content.
        image: Image,
        /// The first entry for it was an insert, so the target probably has no such row.
        is_new: bool,
    },
    /// It is gone.
    Absent,
    /// It is there, but the target cannot hold it.
    Refused(Quarantined),
}

/// A row that the target cannot hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    /// The key, as JSON.
    pub key: serde_json::Value,
    /// The column at fault, if one is.
    pub column: Option<String>,
    /// Why.
    pub reason: String,
}

impl Batch {
    /// Whether the target equals a state of the source once this is applied.
    pub fn is_consistent(&self) -> bool {
        self.read_through <= self.through.position
    }

    /// How many rows it touches.
    pub fn rows(&self) -> usize {
        self.tables.iter().map(|table| table.rows.len() + table.nameless.len()).sum()
    }
}

/// Encodes a row of `mapping` from its values; on a misfit, says in which column and appends
/// nothing.
pub fn encode_row<'a>(
    mapping: &Mapping,
    mut value: impl FnMut(usize) -> Storage<'a>,
    out: &mut Vec<u8>,
) -> Result<(), (usize, Misfit)> {
    let start = out.len();
    for (position, column) in mapping.columns.iter().enumerate() {
        let encoded = column.pg.encode(column.affinity, value(position), out).and_then(|()| {
            let is_over = ROW_BYTES_MAX < out.len() - start;
            if is_over { Err(Misfit::RowTooLarge) } else { Ok(()) }
        });
        if let Err(misfit) = encoded {
            out.truncate(start);
            return Err((position, misfit));
        }
    }
    Ok(())
}

/// PostgreSQL ends a session that sends a message of 1 GB, and holds no row of that size in memory
/// (`MaxAllocSize`); the rest is for headers.
const ROW_BYTES_MAX: usize = 0x3fff_ffff - (1 << 20);

/// Why a key has no image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nameless {
    /// A value that its column's type cannot hold.
    Misfit(usize, Misfit),
    /// SQLite allows NULL in a PRIMARY KEY, PostgreSQL does not.
    Null,
}

/// Encodes a key from its values in key order.
///
/// Numbers that SQLite calls equal (`1` and `1.0`, `0.0` and `-0.0`) become the same key, because
/// they can only name one row.
pub fn encode_key<'a>(
    mapping: &Mapping,
    mut value: impl FnMut(usize) -> Storage<'a>,
) -> Result<KeyImage, Nameless> {
    let mut image = KeyImage::with_capacity(12 * mapping.key.len());
    for (position, column) in mapping.key.iter().enumerate() {
        let column = &mapping.columns[*column];
        let value = match (column.pg.chosen(), value(position)) {
            (_, Storage::Null) => return Err(Nameless::Null),
            (Some(PgType::Float8), Storage::Real(0.0)) => Storage::Real(0.0),
            (Some(PgType::Jsonb), Storage::Real(real)) => {
                as_integer(real).unwrap_or(Storage::Real(real))
            }
            (_, value) => value,
        };
        column
            .pg
            .encode(column.affinity, value, &mut image)
            .map_err(|misfit| Nameless::Misfit(position, misfit))?;
    }
    Ok(image)
}

/// The integer that SQLite calls equal to a real, if there is one.
fn as_integer(real: f64) -> Option<Storage<'static>> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    let is_integral = real.fract() == 0.0 && (-TWO_TO_63..TWO_TO_63).contains(&real);
    #[expect(clippy::cast_possible_truncation, reason = "integral and in range")]
    is_integral.then_some(Storage::Integer(real as i64))
}

/// The fields of an image: `None` for NULL.
pub fn fields(image: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = image;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = i32::from_be_bytes(*length);
        let Ok(length) = usize::try_from(length) else {
            rest = after;
            return Some(None);
        };
        let (field, after) = after.split_at(length);
        rest = after;
        Some(Some(field))
    })
}

/// Bytes that sort as PostgreSQL sorts the key: integers and dates by value, text by bytes. Rows
/// sent in key order touch the target's index pages in turn.
pub fn sort_key(mapping: &Mapping, key: &[u8]) -> Vec<u8> {
    let mut sorted = Vec::with_capacity(key.len());
    for (column, field) in mapping.key.iter().zip(fields(key)) {
        let field = field.unwrap_or_default();
        match field.split_first() {
            Some((first, rest)) if mapping.columns[*column].pg.is_signed() => {
                sorted.push(first ^ 0x80);
                sorted.extend_from_slice(rest);
            }
            _ => {
                sorted.extend_from_slice(field);
                sorted.push(0);
            }
        }
    }
    sorted
}

/// A key as JSON: an array of its values in key order, `[7, "a", {"blob": "00ff"}]`.
///
/// Two keys have the same JSON exactly if SQLite calls them the same, so a real that equals an
/// integer is written as that integer. Other reals, bytes that are no text of PostgreSQL's, and
/// blobs are objects that say what they are. [`key_of_json`] is the inverse.
pub fn key_json<'a>(values: impl Iterator<Item = Storage<'a>>) -> serde_json::Value {
    values
        .map(|value| match value {
            Storage::Null => serde_json::Value::Null,
            Storage::Integer(integer) => integer.into(),
            Storage::Real(real) => match as_integer(real) {
                Some(Storage::Integer(integer)) => integer.into(),
                // As text, because not every reader of JSON gives a double its last bit.
                _ => serde_json::json!({ "real": format!("{real:?}") }),
            },
            Storage::Text(text) => match std::str::from_utf8(text) {
                // JSON in PostgreSQL holds no U+0000 either.
                Ok(text) if !text.contains('\0') => text.into(),
                _ => serde_json::json!({ "text": hex(text) }),
            },
            Storage::Blob(bytes) => serde_json::json!({ "blob": hex(bytes) }),
        })
        .collect()
}

/// The inverse of [`key_json`]; `None` for JSON that no key becomes.
pub fn key_of_json(json: &serde_json::Value) -> Option<Vec<Owned>> {
    let one = |value: &serde_json::Value| {
        use serde_json::Value::{Null, Number, Object, String};
        Some(match value {
            Null => Owned::Null,
            Number(number) => Owned::Integer(number.as_i64()?),
            String(text) => Owned::Text(text.clone().into_bytes()),
            Object(tagged) => {
                let (tag, value) = tagged.iter().next().filter(|_| tagged.len() == 1)?;
                let value = value.as_str()?;
                match tag.as_str() {
                    "real" => Owned::Real(value.parse().ok()?),
                    "text" => Owned::Text(unhex(value)?),
                    "blob" => Owned::Blob(unhex(value)?),
                    _ => return None,
                }
            }
            _ => return None,
        })
    };
    json.as_array()?.iter().map(one).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Owned> {
        let hostile = prop::sample::select(vec![
            Owned::Null,
            Owned::Real(-0.0),
            Owned::Real(f64::INFINITY),
            Owned::Real(9_223_372_036_854_775_808.0),
            Owned::Real(1e300),
            Owned::Text(b"x'05'".to_vec()),
            Owned::Text(b"{\"blob\": \"05\"}".to_vec()),
            Owned::Text(vec![0]),
            Owned::Text(vec![0xff]),
            Owned::Blob(vec![]),
        ]);
        let real = any::<f64>().prop_filter("SQLite has no NaN", |real| !real.is_nan());
        prop_oneof![
            hostile,
            any::<i64>().prop_map(Owned::Integer),
            real.prop_map(Owned::Real),
            (-3_i32..3).prop_map(|n| Owned::Real(n.into())),
            any::<Vec<u8>>().prop_map(Owned::Text),
            any::<String>().prop_map(|text| Owned::Text(text.into_bytes())),
            any::<Vec<u8>>().prop_map(Owned::Blob),
        ]
    }

    /// The same key to SQLite: numbers by value, everything else by class and bytes.
    fn is_same(one: &Owned, other: &Owned) -> bool {
        let number = |value: &Owned| match value {
            Owned::Real(real) => as_integer(*real).map(Owned::from),
            _ => None,
        };
        number(one).as_ref().unwrap_or(one) == number(other).as_ref().unwrap_or(other)
    }

    proptest! {
        #[test]
        fn a_key_comes_back_from_its_json_and_no_two_keys_share_one(
            one in any_value(), other in any_value()
        ) {
            let json = |value: &Owned| key_json([value.storage()].into_iter());
            let through_text: serde_json::Value =
                serde_json::from_str(&json(&one).to_string()).expect("JSON");
            let back = key_of_json(&through_text).expect("it was written by key_json");
            prop_assert!(is_same(&back[0], &one), "{one:?} became {back:?}");
            prop_assert_eq!(json(&one) == json(&other), is_same(&one, &other));
        }
    }

    #[test]
    fn fields_are_found_again_in_an_image() {
        let mut image = Vec::new();
        let text = crate::table::Affinity::Text;
        for value in [Storage::Text(b"ab"), Storage::Null, Storage::Text(b"")] {
            PgType::Text.encode(text, value, &mut image).expect("text fits");
        }
        let found: Vec<_> = fields(&image).collect();
        assert_eq!(found, [Some(b"ab".as_slice()), None, Some(b"".as_slice())]);
    }
}
