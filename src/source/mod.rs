//! Everything that speaks SQLite. Nothing here knows the target.

pub mod schema;
