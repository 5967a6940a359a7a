//! The integration tests, one binary: what the product promises, proven against real parts.

mod store;
