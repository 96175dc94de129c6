//! The workload: random schemas, random statements, and proof that they did what they are for.
//!
//! Everything follows from one seed. [`schema::Schema::random`] makes tables with every kind of
//! key, unique index, foreign key and user trigger; [`statements`] writes SQL that aims at a
//! [`features::Feature`]; [`session::Session`] runs it on several connections in turn and looks
//! at all rows before and after each statement, so that a feature counts only when it had its
//! effect. A statement may fail by constraint; any other failure is a mistake in the generator
//! and stops the test.
//!
//! Values stay in the storage class that their column is declared for.

pub mod bank;
pub mod dice;
pub mod features;
pub mod schema;
pub mod session;
pub mod snapshot;
pub mod statements;
pub mod values;
