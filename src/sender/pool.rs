//! The connection pool: keep-alive connections by origin (scheme, host and port), bounded per origin, and together
//! with those in use in all: the oldest idle one makes room for a new one. Connections are evicted that exceed the
//! idle timeout, that the receiver closed, or that received bytes while idle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::open_count::OpenCount;

/// Maximum idle connections per origin.
const IDLE_PER_ORIGIN: usize = 1_024;
/// Idle timeout: shorter than most servers' keep-alive timeout.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Interval between evictions.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The pool of idle connections.
pub(super) struct Pool {
    origins: Mutex<Origins>,
    /// Connections that are open or being opened, idle ones included.
    open: Arc<AtomicUsize>,
    max_open: usize,
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

impl Origins {
    /// Removes the most recently used connection to this origin.
    fn pop(&mut self, origin: &str) -> Option<Idle> {
        let idle = self.idle.get_mut(origin)?;
        let newest = idle.pop();
        if idle.is_empty() {
            self.idle.remove(origin);
        }
        newest
    }

    /// Removes the connection that has been idle for longest.
    fn take_oldest(&mut self) -> Option<Idle> {
        let oldest = self.idle.iter().min_by_key(|(_, idle)| idle.first().map(|it| it.since));
        let origin = oldest?.0.clone();
        let idle = self.idle.get_mut(&origin)?;
        let oldest = (!idle.is_empty()).then(|| idle.remove(0));
        if idle.is_empty() {
            self.idle.remove(&origin);
        }
        oldest
    }
}

impl Idle {
    fn is_usable(&mut self, now: Instant) -> bool {
        now.duration_since(self.since) < IDLE_TIMEOUT && self.connection.is_open()
    }
}

impl Pool {
    /// A pool that keeps idle connections while no more than this many are open in all.
    pub(super) fn new(max_open: usize) -> Self {
        Self { origins: Mutex::default(), open: Arc::default(), max_open }
    }

    /// Counts a connection that is about to be opened. Where there are too many, the oldest idle one is closed.
    pub(super) fn count_open(&self) -> OpenCount {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        if before >= self.max_open {
            // Closed outside of the lock.
            drop(self.lock().take_oldest());
        }
        OpenCount::of(Arc::clone(&self.open))
    }

    /// Takes the most recently used open connection to this origin.
    pub(super) fn take(&self, origin: &str) -> Option<Box<Connection>> {
        loop {
            let mut idle = self.lock().pop(origin)?;
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
        let pool = Arc::new(Pool::new(8));
        pool.put(Connection::on(Stream::Left(stream), "http://here"));
        assert!(pool.evict(), "it is open");
        drop(accepted);
        while pool.evict() {
            tokio::task::yield_now().await;
        }
        assert!(pool.take("http://here").is_none());
    }
    /// An idle connection that counts as open.
    async fn idle(pool: &Arc<Pool>, listener: &TcpListener, origin: &str) {
        let open = pool.count_open();
        let address = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(address).await.expect("listening");
        let mut connection = Connection::on(Stream::Left(stream), origin);
        connection.open = Some(open);
        pool.put(connection);
    }

    #[tokio::test]
    async fn the_oldest_idle_connection_makes_room_for_a_new_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let pool = Arc::new(Pool::new(3));
        for origin in ["http://a", "http://b", "http://a"] {
            idle(&pool, &listener, origin).await;
        }
        let in_use = pool.take("http://b").expect("it is idle");
        let _opening = pool.count_open();
        assert_eq!(pool.open.load(Ordering::Relaxed), 3, "the first one of a was closed");
        assert!(pool.take("http://a").is_some());
        assert!(pool.take("http://a").is_none());
        drop(in_use);
        assert_eq!(pool.open.load(Ordering::Relaxed), 1, "what is dropped is not open");
    }
}
