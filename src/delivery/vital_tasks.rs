//! Vital tasks: those that the service cannot do without. One that panics, or ends before it is stopped, is
//! reported; the server ends the process then, because the next start recovers and a half-dead service does not.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The vital tasks of a part of the service; clones share them.
#[derive(Clone, Debug)]
pub struct VitalTasks(watch::Sender<Option<String>>);

impl Default for VitalTasks {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl VitalTasks {
    /// A task that is reported by this name if it panics, or ends before `stopping` is cancelled.
    pub fn supervised(
        &self,
        name: &'static str,
        stopping: &CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (failures, stopping) = (self.0.clone(), stopping.clone());
        async move {
            let failure = match AssertUnwindSafe(task).catch_unwind().await {
                Ok(()) if stopping.is_cancelled() => return,
                Ok(()) => format!("the {name} ended on its own"),
                Err(panic) => format!("the {name} panicked: {}", text_of(&*panic)),
            };
            tracing::error!(failure, "a part of the service that it cannot do without has failed");
            failures.send_modify(|first| {
                first.get_or_insert(failure);
            });
        }
    }

    /// Resolves when a task has failed, with its name and how.
    pub async fn failed(&self) -> String {
        let mut failures = self.0.subscribe();
        // The sender is this value's: the channel is open.
        let failure = failures.wait_for(Option::is_some).await;
        failure.ok().and_then(|failure| failure.clone()).unwrap_or_default()
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_or_ends_by_itself_is_a_failure_and_one_that_was_stopped_is_not() {
        let stopping = CancellationToken::new();
        let tasks = VitalTasks::default();
        tokio::spawn(tasks.supervised("claimer", &stopping, async { panic!("no {}", "row") }));
        assert_eq!(tasks.failed().await, "the claimer panicked: no row");
        let tasks = VitalTasks::default();
        tokio::spawn(tasks.supervised("completer", &stopping, async {}));
        assert_eq!(tasks.failed().await, "the completer ended on its own");
        let tasks = VitalTasks::default();
        stopping.cancel();
        tasks.supervised("completer", &stopping, async {}).await;
        assert_eq!(tasks.failed().now_or_never(), None);
    }
}
