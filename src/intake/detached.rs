//! A future that runs to its end even when whoever waits for it goes away: what is left of it goes
//! on as a task. Where nobody goes away, which is nearly always, it costs no task.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// See the module.
pub(super) struct ToEnd<F: Future<Output: Send> + Send + 'static> {
    /// None once it has ended.
    rest: Option<Pin<Box<F>>>,
    under_way: TaskTrackerToken,
}

impl<F: Future<Output: Send> + Send + 'static> ToEnd<F> {
    /// `tracker` counts it as under way until its end.
    pub(super) fn new(future: F, tracker: &TaskTracker) -> Self {
        Self { rest: Some(Box::pin(future)), under_way: tracker.token() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToEnd<F> {
    type Output = F::Output;

    /// Not to be polled after its end, like any future; it stays pending then.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(rest) = &mut self.rest else { return Poll::Pending };
        let polled = rest.as_mut().poll(context);
        if polled.is_ready() {
            self.rest = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToEnd<F> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and what was not answered may be lost.
        if let Some(rest) = self.rest.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let under_way = self.under_way.clone();
            runtime.spawn(async move {
                let _under_way = under_way;
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
    async fn it_goes_on_when_nobody_waits_any_more() {
        let tracker = TaskTracker::new();
        let (go_on, told) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel::<()>();
        let mut future = ToEnd::new(
            async move {
                let _ = told.await;
                let _ = done.send(());
            },
            &tracker,
        );
        assert!(futures_util::poll!(&mut future).is_pending());
        drop(future);
        tracker.close();
        assert_eq!(tracker.len(), 1, "it is still under way");
        go_on.send(()).expect("it waits");
        ended.await.expect("it went on to its end");
        tracker.wait().await;
    }

    #[tokio::test]
    async fn it_gives_what_it_came_to() {
        let tracker = TaskTracker::new();
        assert_eq!(ToEnd::new(async { 5 }, &tracker).await, 5);
        assert!(tracker.is_empty());
    }
}
