//! Postrider: durable webhook delivery in one binary. The rooms, from the ground up: `domain` and `json`;
//! `trigger` and `mapping`; `store`, `sender`, `functions` and `routing`; `outbound_auth`, `auth`,
//! `intake`, `delivery` and `pipeline`; `maintenance` and `alerts`; `service`, what an operator can do;
//! its doors `api`, `web`, `inspector` and `cli`; `server` wires them together.

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
