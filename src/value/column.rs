//! How one column's values are stored: as the type that create mode chose, or as the one that the
//! configuration set.
//!
//! The chosen types are a handful and their encoding is the fast path of the copy; a type that was
//! set goes through its [`Codec`], which compares each value with what would come back.

use std::sync::Arc;

use super::codec::Codec;
use super::codec::kind::Kind;
use super::{Misfit, Owned, PgType, Storage, codec};
use crate::table::Affinity;

/// A column's type on the target, with all that turns values into it and back.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnType {
    /// Chosen by the values and the declaration; may be widened.
    Chosen(PgType),
    /// Set by the configuration; never widened.
    Set(Arc<Codec>),
}

impl From<PgType> for ColumnType {
    fn from(pg: PgType) -> Self {
        Self::Chosen(pg)
    }
}

impl serde::Serialize for ColumnType {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Chosen(pg) => pg.serialize(to),
            Self::Set(_) => self.sql().serialize(to),
        }
    }
}

impl ColumnType {
    /// Appends `value` as a binary field; on a misfit nothing is appended.
    pub fn encode(
        &self,
        affinity: Affinity,
        value: Storage<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Misfit> {
        match self {
            Self::Chosen(pg) => pg.encode(affinity, value, out),
            Self::Set(codec) => codec.encode(value, out),
        }
    }

    /// The inverse of [`encode`](Self::encode).
    pub fn decode(&self, affinity: Affinity, field: Option<&[u8]>) -> Option<Owned> {
        match self {
            Self::Chosen(pg) => pg.decode(affinity, field),
            Self::Set(codec) => codec.decode(field),
        }
    }

    /// The type's name in DDL.
    pub fn sql(&self) -> &str {
        match self {
            Self::Chosen(pg) => pg.sql(),
            Self::Set(codec) => &codec.target().name,
        }
    }

    /// The object id of the column's type.
    pub fn oid(&self) -> u32 {
        match self {
            Self::Chosen(pg) => pg.oid(),
            Self::Set(codec) => codec.target().oid,
        }
    }

    /// The type that its fields travel as: name, object id, and that of its array. A domain's
    /// fields are those of the type below it.
    pub fn wire(&self) -> (&str, u32, u32) {
        match self {
            Self::Chosen(pg) => (pg.sql(), pg.oid(), pg.array_oid()),
            Self::Set(codec) => {
                let base = codec.target().base();
                (&base.name, base.oid, base.array_oid)
            }
        }
    }

    /// What create mode chose, if nothing was set.
    pub fn chosen(&self) -> Option<PgType> {
        match self {
            Self::Chosen(pg) => Some(*pg),
            Self::Set(_) => None,
        }
    }

    /// The codec, if the configuration set a type.
    pub fn set(&self) -> Option<&Codec> {
        match self {
            Self::Chosen(_) => None,
            Self::Set(codec) => Some(codec),
        }
    }

    /// Whether values are integers of PostgreSQL, of any width.
    pub fn is_integer(&self) -> bool {
        match self {
            Self::Chosen(pg) => *pg == PgType::Int8,
            Self::Set(codec) => {
                matches!(codec.target().kind, Kind::SmallInt | Kind::Integer | Kind::BigInt)
            }
        }
    }

    /// Whether fields sort by value if their first bit is turned: all that PostgreSQL keeps as a
    /// signed integer.
    pub fn is_signed(&self) -> bool {
        let is_moment = self.set().is_some_and(|codec| {
            matches!(
                codec.target().base().kind,
                Kind::Date | Kind::Timestamp(_) | Kind::Timestamptz(_)
            )
        });
        is_moment || self.is_integer()
    }

    /// Whether it is text that create mode gives the collation "C".
    pub fn is_collated(&self) -> bool {
        match self {
            Self::Chosen(pg) => *pg == PgType::Text,
            Self::Set(codec) => {
                matches!(codec.target().kind, Kind::Text | Kind::Varchar(_) | Kind::Char(_))
            }
        }
    }

    /// Whether rows reach the column only by way of a staging table: an array of arrays cannot be
    /// taken apart, and text has to be cast.
    pub fn needs_stage(&self) -> bool {
        self.is_cast_by_server()
            || self.set().is_some_and(|codec| matches!(codec.target().base().kind, Kind::Array(_)))
    }

    /// Whether its values travel as text that the server casts to a type which only it knows.
    pub fn is_cast_by_server(&self) -> bool {
        self.set().is_some_and(|codec| codec.wire() == codec::Wire::Text)
    }

    /// The name of the type that the staging table has for it.
    pub fn stage_sql(&self) -> &str {
        if self.is_cast_by_server() { PgType::Text.sql() } else { self.sql() }
    }
}
