//! To come: sender.
