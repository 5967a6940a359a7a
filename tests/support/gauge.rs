//! A receiver that measures: how many requests it has at once, when each begins, and which messages arrive. A request
//! counts until its answer, also when its sender is gone meanwhile.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A longer wait fails the test.
const PATIENCE: Duration = Duration::from_secs(90);

/// The receiver.
pub(crate) struct Gauge {
    address: SocketAddr,
    counts: Arc<Counts>,
}

struct Counts {
    takes_ms: AtomicU64,
    status: AtomicU16,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    begun: Mutex<Vec<Instant>>,
    arrivals: watch::Sender<HashMap<String, usize>>,
}

impl Gauge {
    /// Starts it; each request takes so long.
    pub(crate) async fn start(takes: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts {
            takes_ms: AtomicU64::new(0),
            status: AtomicU16::new(200),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            begun: Mutex::default(),
            arrivals: watch::Sender::new(HashMap::new()),
        });
        let shared = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        let gauge = Self { address, counts };
        gauge.set_takes(takes);
        gauge
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Requests take so long from now on.
    pub(crate) fn set_takes(&self, takes: Duration) {
        let millis = u64::try_from(takes.as_millis()).unwrap();
        self.counts.takes_ms.store(millis, Ordering::SeqCst);
    }

    /// Requests are answered with this status from now on.
    pub(crate) fn set_status(&self, status: u16) {
        self.counts.status.store(status, Ordering::SeqCst);
    }

    /// The most requests that were there at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.counts.most_at_once.load(Ordering::SeqCst)
    }

    /// When requests began.
    pub(crate) fn begun(&self) -> Vec<Instant> {
        self.counts.begun.lock().unwrap().clone()
    }

    /// How often each message has arrived.
    pub(crate) fn arrivals(&self) -> HashMap<String, usize> {
        self.counts.arrivals.borrow().clone()
    }

    /// Returns once the messages that arrived are as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&HashMap<String, usize>) -> bool) {
        let mut arrivals = self.counts.arrivals.subscribe();
        let waiting = arrivals.wait_for(|arrivals| wanted(arrivals));
        let waited = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(waited, "{} messages have arrived", self.arrivals().len());
    }
}

/// Serves requests of one connection: they have a `Content-Length`.
async fn serve(mut stream: TcpStream, counts: Arc<Counts>) {
    let _ = stream.set_nodelay(true);
    let mut read = Vec::new();
    loop {
        let Some(body) = request(&mut stream, &mut read).await else { return };
        counts.begun.lock().unwrap().push(Instant::now());
        let at_once = counts.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(counts.takes_ms.load(Ordering::SeqCst))).await;
        let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let id = event["messageId"].as_str().unwrap_or_default().to_owned();
        counts.arrivals.send_modify(|arrivals| *arrivals.entry(id).or_default() += 1);
        counts.at_once.fetch_sub(1, Ordering::SeqCst);
        let status = counts.status.load(Ordering::SeqCst);
        let answer = format!("HTTP/1.1 {status} OK\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The body of the next request.
async fn request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(head) = read.windows(4).position(|it| it == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&read[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|it| it.trim().parse().ok()).unwrap_or(0);
            if read.len() >= head + 4 + length {
                let body = read[head + 4..head + 4 + length].to_vec();
                read.drain(..head + 4 + length);
                return Some(body);
            }
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}
