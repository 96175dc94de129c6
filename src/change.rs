//! The words both sides share: lineage, position, anchor.
//!
//! SQLite admits one writer at a time, so positions are in commit order: everything at or below a
//! position was committed before everything above it. (A PostgreSQL sequence makes no such
//! promise.) Positions compare only within one [`Lineage`].

use std::fmt;

/// A place in the changelog. Everything at or below a position has been dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct Position(pub i64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which history a position belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Lineage {
    /// Drawn at random when the changelog was installed.
    pub source_id: String,
    /// Bumped when continuity of the changelog was broken on purpose.
    pub generation: i64,
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.source_id, self.generation)
    }
}

/// A position and the random token of the entry that stands there.
///
/// The token tells a changelog that grew on from one that went back and grew differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The place.
    pub position: Position,
    /// What the trigger wrote there.
    pub token: i64,
}

/// What is kept of the token of an entry that was applied: that two histories agree in one entry by
/// chance is one in 2^32.
pub type Mark = [u8; 4];

/// The mark of a token.
pub fn mark(token: i64) -> Mark {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the lower half is what is wanted"
    )]
    let lower = token as u32;
    lower.to_be_bytes()
}

/// A place in one history: what the target holds of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which history.
    pub lineage: Lineage,
    /// How far.
    pub anchor: Anchor,
}

/// The number a captured table has in the changelog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub i64);
