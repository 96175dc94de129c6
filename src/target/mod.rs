//! Everything that speaks PostgreSQL.
//!
//! [`conninfo`] says where the target is, [`connect`] opens one checked session to it, and
//! [`private`] makes a PostgreSQL of our own when no target is named. Nothing here knows that
//! there is a SQLite file.

pub mod connect;
pub mod conninfo;
pub mod private;
pub mod tls;
