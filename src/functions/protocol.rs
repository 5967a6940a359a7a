//! The protocol between the service and its function workers: length-prefixed JSON frames (4 bytes,
//! little-endian) of bounded size over pipes.

use std::borrow::Cow;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Maximum frame size in bytes: a batch of events with a function's source.
pub(super) const MAX_FRAME: usize = 16 * 1024 * 1024;
/// Maximum size of an event that a function returns, in bytes.
pub(super) const MAX_EVENT: usize = 1024 * 1024;
/// Recorded console output per event, in bytes.
pub(super) const MAX_CONSOLE: usize = 8 * 1024;

/// One call, from the service to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call<'a> {
    /// The isolate to run in.
    pub(super) isolate: u64,
    /// The source to load, if the worker does not have this isolate.
    #[serde(borrow)]
    pub(super) load: Option<Load<'a>>,
    /// The isolate to evict.
    pub(super) evict: Option<u64>,
    /// The kind of call.
    pub(super) task: Task,
    /// The events.
    #[serde(borrow)]
    pub(super) events: Vec<&'a RawValue>,
    /// The engine's memory limit.
    pub(super) memory_bytes: usize,
}

/// The source and settings of an isolate.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load<'a> {
    /// JavaScript.
    #[serde(borrow)]
    pub(super) source: Cow<'a, str>,
    /// A JSON object.
    #[serde(borrow)]
    pub(super) settings: &'a RawValue,
}

/// The kind of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    /// Loads the function and reports its handlers.
    Check,
    /// Each event through the handler of its type.
    Each,
    /// All events through `onBatch`, where there is one.
    Batch,
}

/// A worker's reply. A call gets, for each event in order, any number of `Console` and one `Event` or
/// `Error`; then `Done`, which may come early: the events without a reply did not run. Before all calls comes `Ready`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// A line of console output.
    Console(String),
    /// All events are in one `onBatch` call from here on: they share a failure.
    Batched,
    /// The event that the function returned, and how long it ran for it.
    Event { event: Box<RawValue>, micros: u64 },
    /// The error in place of an event, and how long the function ran until then.
    Error { error: FunctionError, micros: u64 },
    /// The sandbox is set up: the worker waits for its first call.
    Ready,
    /// In place of `Ready`: no function runs in this process, because its sandbox cannot be set up.
    Unavailable(String),
    /// The defined handlers.
    Handlers(Vec<String>),
    /// The call ended.
    Done {
        /// The isolate was discarded after an error.
        discarded: bool,
        /// The worker exits, because it ran out of memory.
        exiting: bool,
    },
}

/// A function's error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FunctionError {
    /// What follows from it.
    pub(super) kind: ErrorKind,
    /// The message with its cause.
    pub(super) message: String,
}

/// The consequence of a function's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ErrorKind {
    /// The function dropped the event.
    Dropped,
    /// The function requested a retry.
    Retry,
    /// The function failed.
    Failed,
}

/// Encodes a frame.
pub(super) fn encode<T: Serialize>(content: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, content)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(io::Error::other("frame exceeds the maximum size"));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Decodes a frame's length prefix.
pub(super) fn length(head: [u8; 4]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_le_bytes(head)).map_err(io::Error::other)?;
    if length > MAX_FRAME {
        return Err(io::Error::other("frame exceeds the maximum size"));
    }
    Ok(length)
}

/// Reads one frame's content; fails at the end of the input.
pub(super) fn read(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    input.read_exact(&mut head)?;
    let mut content = vec![0; length(head)?];
    input.read_exact(&mut content)?;
    Ok(content)
}
