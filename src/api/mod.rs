//! To come: api.
