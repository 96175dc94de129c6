//! All integration tests.

mod ddl;
