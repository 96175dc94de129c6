//! All integration tests, in reading order: what they stand on, the independent judge and the
//! random workload, then the claims.
//!
//! The judge and the workload never use the product's own crate: a mistake in its codec must not
//! hide itself.

mod support;

mod judge;
mod server;

mod generator;
mod reference;

mod codec;
mod ddl;
mod golden;

mod apps;
mod assess;
mod capture;
mod random;
mod scenarios;

mod crash;
mod server_faults;
mod single_writer;
mod stop;

mod adopt;
mod alerts;
mod alter;
mod bad_input;
mod checksum;
mod corpus;
mod elsewhere;
mod guard;
mod health;
mod lineage;
mod overrides;
mod parity;
mod quarantine;
mod report;
mod restless;
mod roles;
mod soup;
mod stranded;
mod verify;

mod harm;

mod reach;
mod reach_psql;
mod reach_tls;

mod demo;

mod docs;
mod guide;
mod tidy;
