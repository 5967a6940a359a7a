//! To come: duty.
