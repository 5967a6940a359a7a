//! To come: courier.
