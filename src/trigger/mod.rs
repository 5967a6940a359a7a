//! To come: trigger.
