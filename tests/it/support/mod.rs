//! What tests stand on: a PostgreSQL of their own and a line to it that can be cut.

// Fixtures are written for all tests; no single build uses every one of them.
#![allow(dead_code)]

pub mod cluster;
pub mod proxy;
