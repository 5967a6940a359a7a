//! Shared by the integration tests: the app under test, misbehaving receivers, certificates, DNS, OAuth.

pub(crate) mod app;
pub(crate) mod certificates;
pub(crate) mod faulty_outbox;
pub(crate) mod gauge;
pub(crate) mod load;
pub(crate) mod node;
pub(crate) mod oauth;
pub(crate) mod postgres;
pub(crate) mod postgres_proxy;
pub(crate) mod postgres_server;
pub(crate) mod receiver;
pub(crate) mod request;
pub(crate) mod resolver;
pub(crate) mod sse;
pub(crate) mod statistics;
pub(crate) mod tcp_proxy;
pub(crate) mod unique_keys;
