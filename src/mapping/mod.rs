//! To come: mapping.
