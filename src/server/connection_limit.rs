//! The limit on client connections: at most so many in all and of one peer; beyond it a reserve of connections
//! that serve health and metrics at once, and other requests once a place is free. So the service can be watched
//! while it is full, and says that it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections beyond the limit.
const RESERVE: usize = 64;

#[derive(Debug)]
pub(super) struct ConnectionLimit {
    permits: Arc<Semaphore>,
    reserve: Arc<Semaphore>,
    /// Connections of one peer: three quarters of all. A proxy is one peer.
    max_of_peer: u32,
    peers: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// The place of a connection; released when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    permits: Arc<Semaphore>,
    permit: Mutex<OwnedSemaphorePermit>,
    /// Whether its peer had a connection too many when it was accepted.
    is_over_peers_share: bool,
    peer: IpAddr,
    peers: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

impl Place {
    /// Whether every request may be served; waits for that.
    pub(super) async fn is_full(&self, within: Duration) -> bool {
        if self.is_over_peers_share {
            return false;
        }
        if self.is_full_now() {
            return true;
        }
        let permit = Arc::clone(&self.permits).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(within, permit).await else { return false };
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit;
        true
    }

    fn is_full_now(&self) -> bool {
        let permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::ptr_eq(permit.semaphore(), &self.permits)
    }
}

/// The room for the next connection.
#[derive(Debug)]
pub(super) struct Room(OwnedSemaphorePermit);

impl ConnectionLimit {
    pub(super) fn new(max_connections: u32) -> Self {
        let permits = usize::try_from(max_connections).unwrap_or(usize::MAX);
        Self {
            permits: Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS))),
            reserve: Arc::new(Semaphore::new(RESERVE)),
            max_of_peer: match max_connections / 4 {
                0 => u32::MAX,
                others => max_connections - others,
            },
            peers: Arc::default(),
        }
    }

    /// Waits until a connection may be accepted. None never: the semaphores are not closed.
    pub(super) async fn room(&self) -> Option<Room> {
        tokio::select! {
            biased;
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok().map(Room),
            permit = Arc::clone(&self.reserve).acquire_owned() => permit.ok().map(Room),
        }
    }

    /// The place of a connection that was accepted.
    pub(super) fn place(&self, Room(room): Room, peer: IpAddr) -> Place {
        let mut peers = lock(&self.peers);
        let of_peer = peers.entry(peer).or_default();
        *of_peer += 1;
        let is_over_peers_share = *of_peer > self.max_of_peer;
        drop(peers);
        let reserved =
            is_over_peers_share.then(|| Arc::clone(&self.reserve).try_acquire_owned().ok());
        let permit = Mutex::new(reserved.flatten().unwrap_or(room));
        let (permits, peers) = (Arc::clone(&self.permits), Arc::clone(&self.peers));
        Place { permits, permit, is_over_peers_share, peer, peers }
    }
}

fn lock(peers: &Mutex<HashMap<IpAddr, u32>>) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
    peers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = lock(&self.peers);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, number])
    }

    async fn place(limit: &ConnectionLimit, of: u8) -> Place {
        limit.place(limit.room().await.expect("room"), peer(of))
    }

    #[tokio::test]
    async fn beyond_the_limit_a_connection_of_the_reserve_waits_for_a_place() {
        let limit = ConnectionLimit::new(4);
        let mut places = Vec::new();
        for number in 0..4 {
            places.push(place(&limit, number).await);
        }
        assert!(places.iter().all(Place::is_full_now));
        let reserved = place(&limit, 9).await;
        assert!(!reserved.is_full(Duration::ZERO).await);
        drop(places.pop());
        assert!(reserved.is_full(Duration::ZERO).await);
        assert!(!place(&limit, 9).await.is_full_now(), "the place is taken");
    }

    #[tokio::test]
    async fn one_peer_gets_three_quarters_of_the_connections() {
        let limit = ConnectionLimit::new(8);
        let mut places = Vec::new();
        for _ in 0..8 {
            places.push(place(&limit, 1).await);
        }
        assert_eq!(places.iter().filter(|it| it.is_full_now()).count(), 6);
        assert!(!places[7].is_full(Duration::from_secs(60)).await, "at once");
        assert!(place(&limit, 2).await.is_full_now(), "another peer");
        places.clear();
        assert!(lock(&limit.peers).is_empty(), "nothing is left of a peer that is gone");
    }

    #[tokio::test]
    async fn a_full_reserve_leaves_connections_in_the_backlog() {
        let limit = ConnectionLimit::new(1);
        let mut places = Vec::new();
        for _ in 0..=RESERVE {
            places.push(place(&limit, 1).await);
        }
        assert!(futures_util::poll!(Box::pin(limit.room())).is_pending());
        drop(places.pop());
        assert!(limit.room().await.is_some());
    }
}
