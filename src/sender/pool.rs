//! Idle connections, by origin: scheme, host and port. One that has been idle for long, or that its
//! receiver has closed, is dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::connection::Connection;

/// Connections kept open to one origin while idle.
const IDLE_PER_ORIGIN: usize = 1_024;
/// How long a connection is kept open while idle: less than most receivers keep it.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// How often idle connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The idle connections.
#[derive(Default)]
pub(super) struct Pool {
    origins: Mutex<Origins>,
}

#[derive(Default)]
struct Origins {
    /// The last one is the one used last.
    idle: HashMap<Box<str>, Vec<Idle>>,
    is_swept: bool,
}

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl Idle {
    fn is_usable(&mut self, now: Instant) -> bool {
        now.duration_since(self.since) < IDLE_TIME && self.connection.is_open()
    }
}

impl Pool {
    /// An idle connection to this origin, if there is one.
    pub(super) fn take(&self, origin: &str) -> Option<Box<Connection>> {
        loop {
            let mut idle = self.lock().idle.get_mut(origin)?.pop()?;
            if idle.is_usable(Instant::now()) {
                return Some(idle.connection);
            }
        }
    }

    /// Keeps a connection for the next request to its origin.
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
        if !std::mem::replace(&mut origins.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Drops what cannot be used any more. False when nothing is left.
    fn tidy(&self) -> bool {
        let now = Instant::now();
        let mut origins = self.lock();
        origins.idle.retain(|_, idle| {
            idle.retain_mut(|it| it.is_usable(now));
            !idle.is_empty()
        });
        origins.is_swept = !origins.idle.is_empty();
        origins.is_swept
    }

    fn lock(&self) -> MutexGuard<'_, Origins> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the idle connections as long as there are any.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.tidy() {
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
    async fn what_its_receiver_closed_is_dropped_though_nobody_asks_for_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(address).await.expect("listening");
        let (accepted, _) = listener.accept().await.expect("connected");
        let pool = Arc::new(Pool::default());
        pool.put(Connection::on(Stream::Left(stream), "http://here").await.expect("ready"));
        assert!(pool.tidy(), "it is open");
        drop(accepted);
        while pool.tidy() {
            tokio::task::yield_now().await;
        }
        assert!(pool.take("http://here").is_none());
    }
}
