//! Postrider: durable webhook delivery in one binary. The modules in the order of their dependencies: `domain`
//! and `json`; `trigger` and `mapping`; `store`, `sender`, `functions` and `routing`; `outbound_auth`, `auth`,
//! `live`, `intake`, `delivery` and `pipeline`; `alerts` and `maintenance`; `service`, the operator's
//! operations; `api` and `web`, which expose them; `server`, which wires everything; `cli`.

pub mod alerts;
pub mod api;
pub mod auth;
pub mod cli;
pub mod delivery;
pub mod domain;
pub mod functions;
pub mod inspector;
pub mod intake;
pub mod json;
pub mod live;
pub mod maintenance;
pub mod mapping;
pub mod outbound_auth;
pub mod pipeline;
pub mod routing;
pub mod sender;
pub mod server;
pub mod service;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod trigger;
pub mod web;
