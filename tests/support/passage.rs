//! A way to the service that a test can cut and open again: what came over it is dropped.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The way, open at first.
pub(crate) struct Passage {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
}

impl Passage {
    pub(crate) async fn to(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut state = state.clone();
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
        Self { address, is_open }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn close(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}
