//! A TCP proxy in front of the service that a test can close and reopen, and that can lose a response.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The proxy; initially open.
pub(crate) struct TcpProxy {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    responses_to_lose: Arc<AtomicU32>,
}

impl TcpProxy {
    pub(crate) async fn to(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, state) = watch::channel(true);
        let responses_to_lose = Arc::new(AtomicU32::new(0));
        let lose = Arc::clone(&responses_to_lose);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut state = state.clone();
                let less = |left: u32| left.checked_sub(1);
                if lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                    tokio::spawn(forward_without_response(stream, service));
                    continue;
                }
                tokio::spawn(async move {
                    // Dropped when the proxy is closed.
                    tokio::select! {
                        _ = state.wait_for(|is_open| !is_open) => {}
                        _ = async {
                            let mut there = TcpStream::connect(service).await?;
                            copy_bidirectional(&mut stream, &mut there).await
                        } => {}
                    }
                });
            }
        });
        Self { address, is_open, responses_to_lose }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forwards the next connection's request and drops the response.
    pub(crate) fn lose_next_response(&self) {
        self.responses_to_lose.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn close(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}

/// Forwards the request until the first byte of the response, then drops both connections.
async fn forward_without_response(stream: TcpStream, service: SocketAddr) -> std::io::Result<()> {
    let there = TcpStream::connect(service).await?;
    let (mut from, _to) = stream.into_split();
    let (mut answer, mut request) = there.into_split();
    let mut first = [0; 1];
    tokio::select! {
        copied = copy(&mut from, &mut request) => copied.map(|_| ()),
        read = answer.read(&mut first) => read.map(|_| ()),
    }
}
