//! The real binary as its users run it: killed, out of disk, told to stop, wrongly set up.

mod bench;
mod crash;
mod dev;
mod disk;
mod faulty_disk;
mod secrets;
pub(crate) mod service;
mod walkthrough;
