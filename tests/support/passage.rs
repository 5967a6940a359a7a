//! A way to the service that a test can cut and open again: what came over it is dropped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt as _, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way, open at first.
pub(crate) struct Passage {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
    loses_answers: Arc<AtomicU32>,
}

impl Passage {
    pub(crate) async fn to(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, state) = watch::channel(true);
        let loses_answers = Arc::new(AtomicU32::new(0));
        let lose = Arc::clone(&loses_answers);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut state = state.clone();
                let less = |left: u32| left.checked_sub(1);
                if lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                    tokio::spawn(answer_lost(stream, service));
                    continue;
                }
                tokio::spawn(async move {
                    // Dropped at once where it is closed, else when it is.
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
        Self { address, is_open, loses_answers }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The service takes what comes over the next connection, and its answer is lost.
    pub(crate) fn lose_next_answer(&self) {
        self.loses_answers.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn close(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}

/// Hands over what comes until the first byte of the answer, and drops both sides then.
async fn answer_lost(stream: TcpStream, service: SocketAddr) -> std::io::Result<()> {
    let there = TcpStream::connect(service).await?;
    let (mut from, _to) = stream.into_split();
    let (mut answer, mut request) = there.into_split();
    let mut first = [0; 1];
    tokio::select! {
        copied = copy(&mut from, &mut request) => copied.map(|_| ()),
        read = answer.read(&mut first) => read.map(|_| ()),
    }
}
