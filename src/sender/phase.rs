//! How far a request has come, so that a timeout can say in words what was being waited for. The
//! marks come from the resolver, the TLS session store and the request's body.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// What a request is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Phase {
    /// The addresses of the host's name.
    Resolve,
    /// A TCP connection.
    Connect,
    /// A TLS session.
    Handshake,
    /// The answer's head. The request's bytes are handed to the system by now; whether the
    /// receiver has taken them is not known.
    Head,
    /// The rest of the answer's body.
    Body,
}

impl Phase {
    /// What was being done, for a timeout's words.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Resolve => "looking up the host's name (DNS)",
            Self::Connect => "connecting (TCP)",
            Self::Handshake => "in the TLS handshake",
            Self::Head => "sending the request or waiting for the answer's head",
            Self::Body => "reading the answer's body",
        }
    }
}

tokio::task_local! {
    /// The mark of the request that this task is sending, for the hooks under the HTTP client.
    static CURRENT: Arc<Mark>;
}

/// One request's phase. It only rises: a connection that is still being made when another one
/// became free must not take the request back to an earlier phase.
#[derive(Debug)]
pub(super) struct Mark(AtomicU8);

impl Mark {
    pub(super) fn new(phase: Phase) -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(phase as u8)))
    }

    pub(super) fn reach(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        let reached = self.0.load(Ordering::Relaxed);
        [Phase::Resolve, Phase::Connect, Phase::Handshake, Phase::Head]
            .into_iter()
            .find(|phase| *phase as u8 == reached)
            .unwrap_or(Phase::Body)
    }
}

/// Marks the request that the current task is sending; nothing outside of one.
pub(super) fn reach(phase: Phase) {
    let _ = CURRENT.try_with(|mark| mark.reach(phase));
}

/// Runs a request so that [`reach`] finds its mark.
pub(super) fn marked<F: Future>(mark: Arc<Mark>, request: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(mark, request)
}

/// A request's body that marks when the connection takes it: from then on what is waited for is
/// the answer. An empty body is never polled, but asked whether it is at its end.
#[derive(Debug)]
pub(super) struct MarkedBody {
    bytes: Option<Bytes>,
    empty: bool,
    mark: Arc<Mark>,
}

impl MarkedBody {
    pub(super) fn new(bytes: Bytes, mark: Arc<Mark>) -> Self {
        let empty = bytes.is_empty();
        Self { bytes: (!empty).then_some(bytes), empty, mark }
    }
}

impl Body for MarkedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.mark.reach(Phase::Head);
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        if self.empty {
            self.mark.reach(Phase::Head);
        }
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}
