//! To come: route.
