//! Requests at the built-in receiver: recorded for the report, printed live after it.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::cli::output::Output;
use crate::inspector::{Arrival, Receiver};

/// The requests so far.
pub(super) struct Arrivals {
    seen: Arc<Mutex<Vec<Arrival>>>,
    count: watch::Receiver<usize>,
}

impl Arrivals {
    /// Records requests from now on.
    pub(super) fn watch(mut receiver: Receiver) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counter, count) = watch::channel(0);
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some(arrival) = receiver.next().await {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
                counter.send_modify(|count| *count += 1);
            }
        });
        Self { seen, count }
    }

    /// Returns after this many requests.
    pub(super) async fn until(&mut self, count: usize) {
        // The counter ends only with the receiver, which outlives the samples.
        let _ = self.count.wait_for(|seen| *seen >= count).await;
    }

    /// Whether every request of this delivery was verified, and how many there were.
    pub(super) fn of(&self, webhook_id: &str) -> (bool, usize) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = || seen.iter().filter(|it| it.webhook_id() == Some(webhook_id));
        let verified = mine().all(Arrival::is_verified);
        (verified && mine().next().is_some(), mine().count())
    }

    /// Prints requests until `end`.
    pub(super) async fn show_until<T>(
        mut self,
        out: &mut Output,
        end: impl Future<Output = T>,
    ) -> std::io::Result<()> {
        let mut shown = *self.count.borrow_and_update();
        tokio::pin!(end);
        loop {
            tokio::select! {
                _ = &mut end => return Ok(()),
                changed = self.count.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
            }
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            for arrival in seen.iter().skip(shown) {
                out.line(line(arrival))?;
            }
            shown = seen.len();
        }
    }
}

fn line(arrival: &Arrival) -> String {
    let signature = if arrival.is_verified() { "signature verified" } else { "signature WRONG" };
    format!(
        "{} arrived at {} ({signature}), answered {}",
        arrival.webhook_id().unwrap_or("something"),
        arrival.path,
        arrival.answered.as_u16(),
    )
}
