//! To come: app.

pub mod listener;
