//! The worker's replies on their way to the service: collected while a call runs, so that one write carries
//! many. A thread of its own writes what has waited, so that a function that hangs holds back no reply.

use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::protocol::{self, Reply};

/// How long a reply waits for others before it is written.
const DELAY: Duration = Duration::from_millis(1);
/// Bytes that are written without waiting for more.
const MAX_WAITING_BYTES: usize = 64 * 1024;

/// The replies that are not written yet. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Replies(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    frames: Mutex<Vec<u8>>,
    filled: Condvar,
}

impl Replies {
    /// Starts the thread that writes what has waited.
    pub(super) fn start_thread(&self) -> io::Result<()> {
        let replies = self.clone();
        std::thread::Builder::new().spawn(move || replies.write_waiting())?;
        Ok(())
    }

    fn frames(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a reply; `Done` is written at once, with everything before it.
    pub(super) fn send(&self, reply: &Reply) {
        let Ok(frame) = protocol::encode(reply) else { std::process::exit(1) };
        let mut frames = self.frames();
        let is_first = frames.is_empty();
        frames.extend_from_slice(&frame);
        if matches!(reply, Reply::Done { .. }) || frames.len() >= MAX_WAITING_BYTES {
            write(&mut frames);
        } else if is_first {
            self.0.filled.notify_one();
        }
    }

    /// Writes a reply, with everything before it.
    pub(super) fn send_now(&self, reply: &Reply) {
        self.send(reply);
        write(&mut self.frames());
    }

    fn write_waiting(&self) {
        loop {
            let mut frames = self.frames();
            while frames.is_empty() {
                frames = self.0.filled.wait(frames).unwrap_or_else(PoisonError::into_inner);
            }
            // Further replies join this write.
            let waited = self.0.filled.wait_timeout_while(frames, DELAY, |it| !it.is_empty());
            let (mut frames, _) = waited.unwrap_or_else(PoisonError::into_inner);
            write(&mut frames);
        }
    }
}

/// Writes the frames. The process exits when the service has gone.
fn write(frames: &mut Vec<u8>) {
    let mut output = io::stdout().lock();
    if output.write_all(frames).and_then(|()| output.flush()).is_err() {
        std::process::exit(1);
    }
    frames.clear();
}
