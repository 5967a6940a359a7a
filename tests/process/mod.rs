//! The real binary: killed, out of disk space, with I/O errors, shut down.

mod bench;
mod crash;
mod database_files;
mod descriptors;
mod dev;
mod disk;
mod event_stream;
mod faulty_disk;
mod moves;
mod packages;
mod secrets;
pub(crate) mod service;
mod slow_disk;
mod stepped_clock;
