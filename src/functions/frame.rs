//! What the service and its function workers say to each other: JSON in frames, each after its length
//! in four bytes. Refuses frames longer than either side ever makes.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The longest frame, in bytes: a batch of events with a function's source.
pub(super) const MAX_FRAME: usize = 16 * 1024 * 1024;
/// The longest event that a function may return, in bytes.
pub(super) const MAX_EVENT: usize = 1024 * 1024;
/// How much of what a call writes to the console is kept, in bytes.
pub(super) const MAX_CONSOLE: usize = 8 * 1024;

/// One call, from the service to a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call<'a> {
    /// The realm to call in.
    pub(super) realm: u64,
    /// What to make the realm of, where the worker has none of this number.
    #[serde(borrow)]
    pub(super) load: Option<Load<'a>>,
    /// The realm that is given up to make room.
    pub(super) forget: Option<u64>,
    /// What to do.
    pub(super) task: Task,
    /// With which events.
    #[serde(borrow)]
    pub(super) events: Vec<&'a RawValue>,
    /// The engine's own limit.
    pub(super) memory_bytes: usize,
}

/// What a realm is made of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Load<'a> {
    /// JavaScript.
    #[serde(borrow)]
    pub(super) source: Cow<'a, str>,
    /// A JSON object.
    #[serde(borrow)]
    pub(super) settings: &'a RawValue,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    /// Only loads, and tells which handlers there are.
    Check,
    /// Each event through the handler of its type.
    Each,
    /// All events through `onBatch`, where there is one.
    Batch,
}

/// What a worker tells in answer to a call, in this order: any number of lines of console, and for
/// each event in turn one `Event` or `Fault`; then `Done`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// A line of console.
    Console(String),
    /// All events are in one call of `onBatch` now: what befalls one befalls all.
    Together,
    /// What the function made of the next event.
    Event(Box<RawValue>),
    /// Why it made nothing of it.
    Fault(Fault),
    /// The handlers there are.
    Handlers(Vec<String>),
    /// The call has ended.
    Done {
        /// The realm was given up: what went wrong leaves nothing behind.
        forgot: bool,
        /// The worker has had enough and ends.
        spent: bool,
    },
}

/// Why there is no event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    /// What is to follow.
    pub(super) kind: FaultKind,
    /// The cause in words.
    pub(super) words: String,
}

/// What follows from a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FaultKind {
    /// The event is not wanted.
    Dropped,
    /// The function asks for a retry.
    Retry,
    /// The function, or the event, is wrong.
    Wrong,
}

/// A frame of this content.
pub(super) fn framed<T: Serialize>(content: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, content)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(io::Error::other("longer than a frame may be"));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// The length that a frame's first bytes tell.
pub(super) fn length(head: [u8; 4]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_le_bytes(head)).map_err(io::Error::other)?;
    if length > MAX_FRAME {
        return Err(io::Error::other("a frame longer than any is"));
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

/// Writes one frame, at once.
pub(super) fn write<T: Serialize>(output: &mut impl Write, content: &T) -> io::Result<()> {
    output.write_all(&framed(content)?)?;
    output.flush()
}
