//! What an inspector answers: a script of statuses, a delay and a body, within limits.

use std::time::Duration;

use super::script::Script;

const ANSWER_BYTES: usize = 4 * 1024;
const MAX_DELAY: Duration = Duration::from_secs(60);

/// An inspector's response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The statuses, in sequence for each `webhook-id`.
    pub script: Script,
    /// The delay before each response.
    pub delay: Duration,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Each limit that it exceeds.
    #[must_use]
    pub fn faults(&self) -> Vec<AnswerFault> {
        let limits = [
            (self.delay > MAX_DELAY, AnswerFault::Delay),
            (self.body.len() > ANSWER_BYTES, AnswerFault::Body),
        ];
        limits.into_iter().filter(|(is_exceeded, _)| *is_exceeded).map(|(_, fault)| fault).collect()
    }
}

/// A limit of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// The delay is too long.
    #[error("the delay is at most 60000 ms")]
    Delay,
    /// The body is too long.
    #[error("the body is at most 4096 bytes")]
    Body,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_limits() {
        let slow = Answer { delay: Duration::from_millis(60_001), ..Answer::default() };
        assert_eq!(slow.faults(), [AnswerFault::Delay]);
        let long = Answer { body: "x".repeat(4_097), ..Answer::default() };
        assert_eq!(long.faults(), [AnswerFault::Body]);
        assert_eq!(Answer { body: "x".repeat(4_096), ..Answer::default() }.faults(), []);
    }
}
