//! What a row is on either side, as bytes that must be equal.
//!
//! PostgreSQL computes `sha256(record_send(row(…)))` over its own columns; the same bytes are made
//! here of the image that the source was encoded to. Where the stored form of a type is not the
//! form that was sent, both are brought into one: a `numeric(12,2)` has its scale, a `jsonb` its
//! canonical text, a `char(5)` no spaces at its end.
//!
//! A mistake in the encoder would be in the image and on the target alike, so equal digests do not
//! prove it right. [`differing`] brings what PostgreSQL holds home through the inverse and compares
//! it with what SQLite holds, value by value. Where a loss was chosen there is no inverse, and the
//! stored form decides.
//!
//! Pure: no I/O.

use sha2::{Digest, Sha256};

use crate::batch::fields;
use crate::mapping::{MappedColumn, Mapping};
use crate::table::Ident;
use crate::value::codec::kind::{Kind, Target};
use crate::value::{ColumnType, Owned, PgType, jsonb_text};

/// SHA-256 of a row.
pub type RowDigest = [u8; 32];

/// `text`, which everything is compared as that PostgreSQL keeps as text.
const TEXT_OID: u32 = 25;

/// How the rows of a table are digested.
#[derive(Clone, Debug)]
pub struct RowImage {
    columns: Vec<ImageColumn>,
}

#[derive(Clone, Debug)]
struct ImageColumn {
    /// The column as PostgreSQL is asked for it.
    sql: String,
    oid: u32,
    stored: Stored,
}

/// How what is stored differs from what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    AsSent,
    /// Spaces at the end mean nothing.
    Padded,
    /// With so many digits after the point.
    Scaled(u16),
    Jsonb,
    /// The server cast the text by itself; nobody else knows what came of it.
    Unknown,
}

impl ImageColumn {
    fn of(column: &MappedColumn) -> Self {
        let name = Ident::new(&column.target).to_string();
        let (base, oid, stored) = match &column.pg {
            ColumnType::Chosen(PgType::Jsonb) => ("text".to_owned(), TEXT_OID, Stored::Jsonb),
            ColumnType::Chosen(pg) => (pg.sql().to_owned(), pg.oid(), Stored::AsSent),
            ColumnType::Set(codec) => stored_as(codec.target()),
        };
        Self { sql: format!("{name}::{base}"), oid, stored }
    }
}

fn stored_as(target: &Target) -> (String, u32, Stored) {
    let text = |stored| ("text".to_owned(), TEXT_OID, stored);
    match &target.kind {
        Kind::Domain(base) => stored_as(base),
        Kind::Text | Kind::Varchar(_) | Kind::Citext | Kind::Enum(_) => text(Stored::AsSent),
        Kind::Char(_) => text(Stored::Padded),
        Kind::Jsonb => text(Stored::Jsonb),
        Kind::Other => text(Stored::Unknown),
        Kind::Numeric(precision) => {
            let scale = precision.and_then(|precision| u16::try_from(precision.scale).ok());
            let stored = match precision {
                Some(_) => Stored::Scaled(scale.unwrap_or(0)),
                None => Stored::AsSent,
            };
            ("numeric".to_owned(), target.oid, stored)
        }
        // A type modifier has rounded already, when the value was sent.
        Kind::Array(element) => (format!("{}[]", element.name), target.oid, Stored::AsSent),
        kind => (kind.plain().to_owned(), target.oid, Stored::AsSent),
    }
}

impl Stored {
    /// What PostgreSQL stores for a field that was sent.
    fn of_sent(self, field: &[u8]) -> Vec<u8> {
        match self {
            Self::AsSent | Self::Unknown => field.to_vec(),
            Self::Padded => {
                let end = field.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
                field[..end].to_vec()
            }
            Self::Scaled(scale) => with_scale(field, scale),
            Self::Jsonb => {
                let text = field.strip_prefix(&[1]).unwrap_or(field);
                let text = std::str::from_utf8(text).ok();
                let canonical = text.and_then(jsonb_text::canonical);
                canonical.map_or_else(|| field.to_vec(), String::into_bytes)
            }
        }
    }
}

/// A `numeric` with another number of digits shown after its point; the value stays.
fn with_scale(field: &[u8], scale: u16) -> Vec<u8> {
    // ndigits, weight, sign, dscale, each of two bytes; then the digits.
    let mut scaled = field.to_vec();
    if let Some(place) = scaled.get_mut(6..8) {
        place.copy_from_slice(&scale.to_be_bytes());
    }
    scaled
}

impl RowImage {
    /// Of all columns.
    pub fn of(mapping: &Mapping) -> Self {
        Self { columns: mapping.columns.iter().map(ImageColumn::of).collect() }
    }

    /// Of the columns that name a row.
    pub fn of_key(mapping: &Mapping) -> Self {
        let key = mapping.key.iter().map(|column| ImageColumn::of(&mapping.columns[*column]));
        Self { columns: key.collect() }
    }

    /// The digest as PostgreSQL is asked for it, over a table of the target.
    ///
    /// `record_send` writes the number of columns, and for each its type, length and bytes
    /// (src/backend/utils/adt/rowtypes.c); the bytes of a text are in the client's encoding, which
    /// every session pins to UTF-8.
    pub fn sql(&self) -> String {
        let known = self.columns.iter().filter(|column| column.stored != Stored::Unknown);
        let columns: Vec<&str> = known.map(|column| column.sql.as_str()).collect();
        format!("pg_catalog.sha256(pg_catalog.record_send(row({})))", columns.join(", "))
    }

    /// The same of an image of the source.
    pub fn digest(&self, image: &[u8]) -> RowDigest {
        let known = self.columns.iter().filter(|column| column.stored != Stored::Unknown);
        let count = i32::try_from(known.count()).expect("a table has at most 1,600 columns");
        let mut whole = Sha256::new();
        whole.update(count.to_be_bytes());
        for (column, field) in self.columns.iter().zip(fields(image)) {
            if column.stored == Stored::Unknown {
                continue;
            }
            whole.update(column.oid.to_be_bytes());
            match field {
                None => whole.update((-1_i32).to_be_bytes()),
                Some(field) if column.stored == Stored::AsSent => {
                    whole.update(length(field));
                    whole.update(field);
                }
                Some(field) => {
                    let stored = column.stored.of_sent(field);
                    whole.update(length(&stored));
                    whole.update(&stored);
                }
            }
        }
        whole.finalize().into()
    }
}

fn length(field: &[u8]) -> [u8; 4] {
    i32::try_from(field.len()).expect("a field is below 1 GB").to_be_bytes()
}

/// Names of the columns that PostgreSQL makes of a text by a cast of its own, and that are not
/// compared.
pub fn not_compared(mapping: &Mapping) -> Vec<String> {
    let columns = mapping.columns.iter();
    columns
        .filter(|column| ImageColumn::of(column).stored == Stored::Unknown)
        .map(|column| mapping.source_name(column).to_owned())
        .collect()
}

/// The columns in which a row of the target is not what the source holds: positions in the
/// mapping. `target` are the fields as PostgreSQL sends them.
pub fn differing(mapping: &Mapping, source: &[Owned], target: &[Option<Vec<u8>>]) -> Vec<usize> {
    let columns = mapping.columns.iter().zip(source).zip(target).enumerate();
    columns
        .filter(|(_, ((column, held), field))| !is_same(column, held, field.as_deref()))
        .map(|(position, _)| position)
        .collect()
}

fn is_same(column: &MappedColumn, held: &Owned, field: Option<&[u8]>) -> bool {
    let stored = ImageColumn::of(column).stored;
    let home = || column.pg.decode(column.affinity, field);
    if stored == Stored::Unknown || home().is_some_and(|home| is_identical(&home, held)) {
        return true;
    }
    // Only what was chosen to be lost may have no way back.
    let has_losses = column.pg.set().is_some_and(|codec| !codec.losses().is_empty());
    let mut sent = Vec::new();
    if !has_losses || column.pg.encode(column.affinity, held.storage(), &mut sent).is_err() {
        return false;
    }
    let sent = fields(&sent).next().flatten();
    match (sent, field) {
        (None, None) => true,
        (Some(sent), Some(field)) => stored.of_sent(sent) == stored.of_sent(field),
        _ => false,
    }
}

/// Equal to the last bit: of two zeros, one can be negative.
fn is_identical(one: &Owned, other: &Owned) -> bool {
    match (one, other) {
        (Owned::Real(one), Owned::Real(other)) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    }
}
