//! The delivery threads: a tokio runtime of its own, so that intake and deliveries do not queue behind
//! each other's tasks on one runtime.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// The delivery runtime. Dropping it does not wait for its tasks, which are stopped before.
#[derive(Debug)]
pub(super) struct DeliveryThreads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl DeliveryThreads {
    /// Uses the given runtime, or starts one with a thread per CPU.
    pub(super) fn start(given: Option<Handle>) -> io::Result<Self> {
        if let Some(handle) = given {
            return Ok(Self { handle, runtime: None });
        }
        let runtime = Builder::new_multi_thread().thread_name("deliver").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// The runtime's handle, which deliveries are spawned on.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for DeliveryThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
