//! What a row is on either side, as bytes that must be equal.
//!
//! PostgreSQL computes `sha256(record_send(row(…)))` over its own columns; the same bytes are made
//! here of the image that the source was encoded to. That the fields of an image are, byte for
//! byte, what the server sends of the stored value is the codec's own promise: a `numeric(12,2)`
//! has its scale, a `jsonb` its canonical text, a `char(5)` its spaces.
//!
//! A mistake in the encoder would be in the image and on the target alike. So each image is also
//! brought home by the inverse and held against what SQLite holds, value by value ([`is_home`]).
//! Equal digests say that PostgreSQL has these very bytes, so what comes home of the image is what
//! would come home of PostgreSQL's row. Where a loss was chosen there is no inverse, and the stored
//! form decides.
//!
//! Pure: no I/O.

use sha2::{Digest, Sha256};

use super::sum::RowDigest;
use crate::batch::fields;
use crate::mapping::{MappedColumn, Mapping};
use crate::table::Ident;
use crate::value::{Owned, Storage};

/// How the rows of a table are digested.
#[derive(Clone, Debug)]
pub struct RowImage {
    /// `None` for a column that is not compared.
    columns: Vec<Option<ImageColumn>>,
}

#[derive(Clone, Debug)]
struct ImageColumn {
    /// The column as PostgreSQL is asked for it.
    sql: String,
    oid: u32,
}

impl ImageColumn {
    fn of(column: &MappedColumn) -> Option<Self> {
        // A domain is sent as the type below it.
        let (wire, oid, _) = column.pg.wire();
        let sql = format!("{}::{wire}", Ident::new(&column.target));
        (!column.pg.is_cast_by_server()).then_some(Self { sql, oid })
    }
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
        let columns: Vec<&str> =
            self.columns.iter().flatten().map(|column| column.sql.as_str()).collect();
        format!("pg_catalog.sha256(pg_catalog.record_send(row({})))", columns.join(", "))
    }

    /// The same of an image of the source, which is written down in `record` as PostgreSQL does.
    pub fn digest(&self, image: &[u8], record: &mut Vec<u8>) -> RowDigest {
        let count = i32::try_from(self.columns.iter().flatten().count());
        record.clear();
        record.extend(count.expect("a table has at most 1,600 columns").to_be_bytes());
        for (column, field) in self.columns.iter().zip(fields(image)) {
            let Some(column) = column else { continue };
            let length = field.map_or(Ok(-1), |field| i32::try_from(field.len()));
            record.extend(column.oid.to_be_bytes());
            record.extend(length.expect("a field is below 1 GB").to_be_bytes());
            record.extend_from_slice(field.unwrap_or_default());
        }
        Sha256::digest(&*record).into()
    }
}

/// Names what is compared, and how: a proof holds as long as it is the same.
pub fn fingerprint(mapping: &Mapping, generation: i64) -> String {
    let (row, key) = (RowImage::of(mapping).sql(), RowImage::of_key(mapping).sql());
    let columns = &mapping.columns;
    let all = format!("{generation} {} {row} {key} {columns:?}", mapping.target);
    Sha256::digest(all).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names of the columns that PostgreSQL makes of a text by a cast of its own, and that are not
/// compared: nobody else knows what came of it.
pub fn not_compared(mapping: &Mapping) -> Vec<String> {
    let columns = mapping.columns.iter().filter(|column| column.pg.is_cast_by_server());
    columns.map(|column| mapping.source_name(column).to_owned()).collect()
}

/// The columns in which a row of the target is not what the source holds: positions in the
/// mapping. `target` are the fields as PostgreSQL sends them.
pub fn differing(mapping: &Mapping, source: &[Owned], target: &[Option<Vec<u8>>]) -> Vec<usize> {
    let columns = mapping.columns.iter().zip(source).zip(target).enumerate();
    columns
        .filter(|(_, ((column, held), field))| !is_same(column, held.storage(), field.as_deref()))
        .map(|(position, _)| position)
        .collect()
}

/// Whether the inverse makes of an image what the source holds.
pub fn is_home<'a>(mapping: &Mapping, value: impl Fn(usize) -> Storage<'a>, image: &[u8]) -> bool {
    let columns = mapping.columns.iter().zip(fields(image)).enumerate();
    columns.into_iter().all(|(at, (column, field))| is_same(column, value(at), field))
}

fn is_same(column: &MappedColumn, held: Storage<'_>, field: Option<&[u8]>) -> bool {
    let home = || column.pg.decode(column.affinity, field);
    if column.pg.is_cast_by_server() || home().is_some_and(|home| is_identical(&home, held)) {
        return true;
    }
    // Only what was chosen to be lost may have no way back.
    let has_losses = column.pg.set().is_some_and(|codec| !codec.losses().is_empty());
    let mut sent = Vec::new();
    has_losses
        && column.pg.encode(column.affinity, held, &mut sent).is_ok()
        && fields(&sent).next() == Some(field)
}

/// Equal to the last bit: of two zeros, one can be negative.
fn is_identical(one: &Owned, other: Storage<'_>) -> bool {
    match (one.storage(), other) {
        (Storage::Real(one), Storage::Real(other)) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    }
}
