//! lite2pg keeps a PostgreSQL database in step with a SQLite file that an application keeps
//! writing to.
//!
//! ```text
//!   application ──writes──▶ SQLite file ──triggers──▶ _lite2pg_changelog (names rows)
//!                                │                          │
//!                          source::copy              source::changelog
//!                                │                          │
//!                                │                        batch      one image per key
//!                                ▼                          ▼
//!                           target::copy              target::apply ──▶ PostgreSQL
//! ```
//!
//! The changelog names rows; it does not carry them. One SQLite read transaction yields the
//! newest position and the contents of every row touched since the applied one; one PostgreSQL
//! transaction makes the target hold exactly those contents and that position. Applying twice is
//! harmless, because it is state and not a recipe.

pub mod adopt;
pub mod alert;
pub mod assess;
pub mod batch;
pub mod change;
pub mod cli;
pub mod command;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod error;
pub mod failpoint;
pub mod grammar;
pub mod guard;
pub mod history;
pub mod mapping;
pub mod overrides;
pub mod quarantine;
pub mod report;
pub mod source;
pub mod status;
pub mod table;
pub mod target;
pub mod terminal;
pub mod value;
pub mod verify;
