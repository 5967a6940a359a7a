//! The integration tests, one binary: each noun has its module.

mod intake;
