//! All integration tests.

mod support;

mod reach;
