//! All integration tests.

mod support;

mod reach;
mod reach_psql;
mod reach_tls;
