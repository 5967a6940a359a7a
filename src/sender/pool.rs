//! The connection pool: keep-alive connections by origin (scheme, host and port), bounded per origin.
//! Connections are evicted that exceed the idle timeout, that the receiver closed, or that received bytes
//! while idle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::connection::Connection;

/// Maximum idle connections per origin.
const IDLE_PER_ORIGIN: usize = 1_024;
/// Idle timeout: shorter than most servers' keep-alive timeout.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval between evictions.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The pool of idle connections.
#[derive(Default)]
pub(super) struct Pool {
    origins: Mutex<Origins>,
}

#[derive(Default)]
struct Origins {
    /// Per origin, most recently used last.
    idle: HashMap<Box<str>, Vec<Idle>>,
    has_sweeper: bool,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Idle {
    fn is_usable(&mut self, now: Instant) -> bool {
        now.duration_since(self.since) < IDLE_TIMEOUT && self.connection.is_open()
    }
}

impl Pool {
    /// Takes the most recently used open connection to this origin.
    pub(super) fn take(&self, origin: &str) -> Option<Box<Connection>> {
        loop {
            let mut idle = self.lock().idle.get_mut(origin)?.pop()?;
            if idle.is_usable(Instant::now()) {
                return Some(idle.connection);
            }
        }
    }

    /// Returns a connection to the pool; closes it if its origin has too many.
    pub(super) fn put(self: &Arc<Self>, connection: Box<Connection>) {
        let idle = Idle { connection, since: Instant::now() };
        let mut origins = self.lock();
        match origins.idle.get_mut(&idle.connection.origin) {
            Some(others) if others.len() < IDLE_PER_ORIGIN => others.push(idle),
            Some(_) => return,
            None => {
                origins.idle.insert(idle.connection.origin.clone(), vec![idle]);
            }
        }
        if !std::mem::replace(&mut origins.has_sweeper, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Evicts closed and expired connections. False when the pool is empty.
    fn evict(&self) -> bool {
        let now = Instant::now();
        let mut origins = self.lock();
        origins.idle.retain(|_, idle| {
            idle.retain_mut(|it| it.is_usable(now));
            !idle.is_empty()
        });
        origins.has_sweeper = !origins.idle.is_empty();
        origins.has_sweeper
    }

    fn lock(&self) -> MutexGuard<'_, Origins> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Evicts periodically until the pool is empty or dropped.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.evict() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sender::connection::Stream;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn connections_closed_by_the_receiver_are_evicted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(address).await.expect("listening");
        let (accepted, _) = listener.accept().await.expect("connected");
        let pool = Arc::new(Pool::default());
        pool.put(Connection::on(Stream::Left(stream), "http://here"));
        assert!(pool.evict(), "it is open");
        drop(accepted);
        while pool.evict() {
            tokio::task::yield_now().await;
        }
        assert!(pool.take("http://here").is_none());
    }
}
