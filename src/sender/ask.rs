//! Asking a machine for something the program itself needs, such as a token: under the same guard,
//! limits and silence as a delivery. The answer is the caller's to read and is recorded nowhere.

use bytes::Bytes;

use super::answer::{AnswerBody, READ_BYTES};
use super::client::{Exchange, Outgoing, Sender, of_url, timed_out};
use super::fault::Fault;
use super::phase::Phase;
use crate::domain::attempt::Outcome;

/// There was no whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Unanswered {
    /// How it ended.
    pub outcome: Outcome,
    /// What went wrong.
    pub words: String,
}

impl From<Fault> for Unanswered {
    fn from(fault: Fault) -> Self {
        Self { outcome: fault.outcome, words: fault.words }
    }
}

impl Sender {
    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// When there is none, it is longer than 64 KiB, or the address is refused.
    pub async fn ask(&self, request: Outgoing) -> Result<http::Response<Vec<u8>>, Unanswered> {
        self.policy.check_url_host(&request.url).map_err(|refused| of_url(&refused))?;
        let timeout = request.timeout;
        let sleep = tokio::time::sleep(timeout);
        tokio::pin!(sleep);
        let mut answer = self.head(request, sleep.as_mut()).await?;
        let mut body = AnswerBody::new(READ_BYTES, 0);
        tokio::select! {
            biased;
            read = body.read(&mut answer) => read?,
            () = sleep => return Err(timed_out(timeout, Phase::Body).into()),
        }
        let read = body.finish();
        if read.truncated {
            let words = format!("the answer is longer than {READ_BYTES} bytes");
            return Err(Unanswered { outcome: Outcome::BadAnswer, words });
        }
        let mut whole = http::Response::new(read.kept.to_vec());
        *whole.status_mut() = answer.head.status;
        std::mem::swap(whole.headers_mut(), &mut answer.head.headers);
        self.reuse(answer);
        Ok(whole)
    }
}

impl Exchange {
    /// Takes what a receiver echoed of the request's secrets out of what is recorded.
    pub fn scrub<'s>(&mut self, secrets: impl IntoIterator<Item = &'s str>) {
        for secret in secrets.into_iter().filter(|secret| secret.len() >= SHORTEST) {
            if let Some(error) = &mut self.error {
                replace(error, secret);
            }
            replace(&mut self.response_headers, secret);
            self.response_body =
                without(&self.response_body, secret.as_bytes(), self.response_truncated);
            if let Some(body) = &mut self.multistatus {
                *body = without(body, secret.as_bytes(), false);
            }
        }
    }
}

/// A secret shorter than this is told from ordinary text by nobody.
const SHORTEST: usize = 4;
const MASK: &str = "***";

fn replace(text: &mut String, secret: &str) {
    if text.contains(secret) {
        *text = text.replace(secret, MASK);
    }
}

/// The bytes with every occurrence masked; of a body that was cut, also one that it begins to tell.
fn without(body: &Bytes, secret: &[u8], cut: bool) -> Bytes {
    let mut kept = Vec::new();
    let mut from = 0;
    while let Some(at) = find(&body[from..], secret) {
        kept.extend_from_slice(&body[from..from + at]);
        kept.extend_from_slice(MASK.as_bytes());
        from += at + secret.len();
    }
    let rest = &body[from..];
    let begun = (SHORTEST..secret.len()).rev().find(|length| rest.ends_with(&secret[..*length]));
    let begun = if cut { begun } else { None };
    if from == 0 && begun.is_none() {
        return body.clone();
    }
    kept.extend_from_slice(&rest[..rest.len() - begun.unwrap_or(0)]);
    if begun.is_some() {
        kept.extend_from_slice(MASK.as_bytes());
    }
    Bytes::from(kept)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_masked_wherever_it_stands() {
        let body = |text: &str, cut| {
            let body = without(&Bytes::from(text.to_owned()), b"s3cret-token", cut);
            String::from_utf8(body.to_vec()).expect("text")
        };
        assert_eq!(body("nothing", false), "nothing");
        assert_eq!(body("s3cret-token", false), "***");
        assert_eq!(body("a s3cret-token b s3cret-tokens3cret-token", true), "a *** b ******");
        assert_eq!(body("it is s3cret-t", true), "it is ***");
        assert_eq!(body("it is s3cret-t", false), "it is s3cret-t");
        assert_eq!(body("it is s3c", true), "it is s3c", "too little to tell");
    }
}
