//! Everything that speaks PostgreSQL. Nothing here knows the source.

pub mod ddl;
pub mod expr;
mod view;
