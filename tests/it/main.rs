//! All integration tests, in reading order: the judge, the workload, and what they are used on.
//!
//! Nothing here uses the product's own crate: a mistake in its codec must not hide itself.

mod server;

mod judge;

mod generator;
mod reference;

mod capture;
mod random;
