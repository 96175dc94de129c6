//! What tests stand on: a PostgreSQL of their own, a line to it that can be cut, the product as a
//! process, and an application that writes.

// Fixtures are written for all tests; no single build uses every one of them.
#![allow(dead_code)]

pub mod cluster;
pub mod database;
pub mod pair;
pub mod proxy;
pub mod receiver;
pub mod roles;
pub mod scene;
pub mod sidecar;
pub mod workload;
