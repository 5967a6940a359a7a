//! Postrider: durable webhook delivery. The map of the house, from the ground up:
//! `domain` decides, `store` keeps, `sender` speaks HTTP, `auth` gets tokens, `access` lets operators in,
//! `intake` accepts,
//! `courier` delivers, `duty` tidies, `receiver` plays the other side, `pipeline` changes what is set up,
//! `desk` is what an operator can ask and do, `api`, `web` and `cli` are the operator's doors, `app` wires them together.

pub mod access;
pub mod alert;
pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod courier;
pub mod desk;
pub mod digest;
pub mod domain;
pub mod duty;
pub mod function;
pub mod intake;
pub mod json;
pub mod live;
pub mod mapping;
pub mod metrics;
pub mod pipeline;
pub mod process;
pub mod receiver;
pub mod route;
pub mod secrets;
pub mod sender;
pub mod spans;
pub mod sse;
pub mod store;
pub mod trigger;
pub mod web;
