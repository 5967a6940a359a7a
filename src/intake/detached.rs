//! A future that runs to completion when it is dropped: the rest is spawned as a task. Unless it is
//! dropped early, which is rare, no task is created.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A future that is spawned when it is dropped before its end.
pub(super) struct Detached<F: Future<Output: Send> + Send + 'static> {
    /// None after completion.
    rest: Option<Pin<Box<F>>>,
    token: TaskTrackerToken,
}

impl<F: Future<Output: Send> + Send + 'static> Detached<F> {
    /// `tracker` counts it as running until it completes.
    pub(super) fn new(future: F, tracker: &TaskTracker) -> Self {
        Self { rest: Some(Box::pin(future)), token: tracker.token() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Detached<F> {
    type Output = F::Output;

    /// Stays pending if it is polled after completion.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(rest) = &mut self.rest else { return Poll::Pending };
        let polled = rest.as_mut().poll(context);
        if polled.is_ready() {
            self.rest = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Detached<F> {
    fn drop(&mut self) {
        // Without a runtime the process is exiting; unacknowledged requests may be lost.
        if let Some(rest) = self.rest.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let token = self.token.clone();
            runtime.spawn(async move {
                let _under_way = token;
                rest.await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_dropped_future_runs_to_completion() {
        let tracker = TaskTracker::new();
        let (release, released) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel::<()>();
        let mut future = Detached::new(
            async move {
                let _ = released.await;
                let _ = done.send(());
            },
            &tracker,
        );
        assert!(futures_util::poll!(&mut future).is_pending());
        drop(future);
        tracker.close();
        assert_eq!(tracker.len(), 1, "it is still running");
        release.send(()).expect("it is waiting");
        ended.await.expect("it completed");
        tracker.wait().await;
    }

    #[tokio::test]
    async fn the_output_is_returned() {
        let tracker = TaskTracker::new();
        assert_eq!(Detached::new(async { 5 }, &tracker).await, 5);
        assert!(tracker.is_empty());
    }
}
