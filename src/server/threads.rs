//! The threads that deliver, a runtime of their own: what comes in and what goes out each get their share
//! of the processor, however much of the other waits. On one runtime every answer to a client stood
//! behind all deliveries that could get on, and every delivery behind all requests.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime. Dropping it does not wait for what still runs there: that is stopped before.
#[derive(Debug)]
pub(super) struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    /// Those that are given, or as many threads as there are processors.
    pub(super) fn of(given: Option<Handle>) -> io::Result<Self> {
        if let Some(handle) = given {
            return Ok(Self { handle, runtime: None });
        }
        let runtime = Builder::new_multi_thread().thread_name("deliver").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// What deliveries are spawned on.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
