//! A TCP proxy in front of PostgreSQL. It cuts the answer to a COMMIT, stops forwarding without closing, closes
//! everything, or leads to another server from now on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// COMMIT as a simple query.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

/// Where a COMMIT is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It does not reach the server.
    Request,
    /// The server has committed; its answer does not come back.
    Answer,
}

/// The proxy.
pub(crate) struct PostgresProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    /// The next COMMIT of a transaction with this text in its values.
    cut: Mutex<Option<(String, Cut)>>,
    cuts: watch::Sender<usize>,
    /// Connections of an earlier generation forward nothing any more.
    generation: watch::Sender<u64>,
    /// Connections of an earlier generation are closed.
    closed: watch::Sender<u64>,
}

impl PostgresProxy {
    /// Starts one in front of the server at this port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(at(port)),
            cut: Mutex::new(None),
            cuts: watch::Sender::new(0),
            generation: watch::Sender::new(0),
            closed: watch::Sender::new(0),
        });
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, Arc::clone(&accepting)));
            }
        });
        Self { address, shared }
    }

    /// The address of a database through it.
    pub(crate) fn url(&self, direct: &str) -> String {
        let (head, tail) = direct.split_once('@').unwrap();
        let (_, database) = tail.split_once('/').unwrap();
        format!("{head}@{}/{database}", self.address)
    }

    /// Cuts the next COMMIT of a transaction with this text in its values.
    pub(crate) fn cut_next(&self, text: impl Into<String>, cut: Cut) {
        *self.shared.cut.lock().unwrap() = Some((text.into(), cut));
    }

    /// Returns once this many COMMITs were cut.
    pub(crate) async fn until_cut(&self, count: usize) {
        let mut cuts = self.shared.cuts.subscribe();
        cuts.wait_for(|cuts| *cuts >= count).await.unwrap();
    }

    /// From now on nothing is forwarded in either direction on connections that are open, and none is closed.
    pub(crate) fn lose_packets(&self) {
        self.shared.generation.send_modify(|generation| *generation += 1);
    }

    /// Leads to the server at this port from now on; open connections are closed.
    pub(crate) fn lead_to(&self, port: u16) {
        *self.shared.target.lock().unwrap() = at(port);
        self.shared.closed.send_modify(|closed| *closed += 1);
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let mut closed = shared.closed.subscribe();
    let mut generation = shared.generation.subscribe();
    closed.borrow_and_update();
    generation.borrow_and_update();
    let target = *shared.target.lock().unwrap();
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let answers = watch::Sender::new(true);
    let wanted = answers.subscribe();
    tokio::select! {
        () = requests((from_client, to_server), &shared, answers) => {}
        () = responses((from_server, to_client), wanted) => {}
        _ = closed.changed() => {}
        _ = generation.changed() => {
            // Both ends stay open, and nobody reads them.
            let _ = closed.changed().await;
        }
    }
}

/// Forwards the client's messages until a COMMIT that is to be cut.
async fn requests(
    (mut from, mut to): (OwnedReadHalf, OwnedWriteHalf),
    shared: &Shared,
    answers: watch::Sender<bool>,
) {
    let mut buffer = vec![0; 64 << 10];
    let mut transaction = Vec::new();
    while let Ok(count) = from.read(&mut buffer).await
        && count > 0
    {
        let chunk = &buffer[..count];
        transaction.extend_from_slice(chunk);
        if contains(chunk, COMMIT) {
            match due(shared, &transaction) {
                None => transaction.clear(),
                Some(Cut::Request) => {
                    shared.cuts.send_modify(|cuts| *cuts += 1);
                    return;
                }
                Some(Cut::Answer) => {
                    answers.send_replace(false);
                    let _ = to.write_all(chunk).await;
                    // The server closes its end once it has committed and read that the client is gone.
                    let _ = to.shutdown().await;
                    answers.closed().await;
                    shared.cuts.send_modify(|cuts| *cuts += 1);
                    return;
                }
            }
        }
        if to.write_all(chunk).await.is_err() {
            return;
        }
    }
}

/// Forwards the server's messages, or drops them.
async fn responses(
    (mut from, mut to): (OwnedReadHalf, OwnedWriteHalf),
    wanted: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer).await
        && count > 0
    {
        if *wanted.borrow() && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    if !*wanted.borrow() {
        // The other half ends the connection.
        drop(wanted);
        std::future::pending::<()>().await;
    }
}

/// Whether the COMMIT of this transaction is to be cut.
fn due(shared: &Shared, transaction: &[u8]) -> Option<Cut> {
    let mut cut = shared.cut.lock().unwrap();
    cut.take_if(|(text, _)| contains(transaction, text.as_bytes())).map(|(_, cut)| cut)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|it| it == part)
}
