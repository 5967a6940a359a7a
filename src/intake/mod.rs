//! To come: intake.
