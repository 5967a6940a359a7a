//! Requests that the service makes for itself, such as token requests: same SSRF protection, limits and
//! timeout as a delivery. The response goes to the caller and is not recorded.

use tokio::time::Instant;

use super::client::Sender;
use super::exchange::SignedRequest;
use super::failure::{self, Failure};
use super::phase::Phase;
use super::response::{MAX_READ_BYTES, ResponseBody};
use crate::domain::attempt::Outcome;

impl Sender {
    /// Sends a request and reads the whole response, whatever its status.
    ///
    /// # Errors
    /// When no whole response arrives, it is longer than 64 KiB, or the address is refused.
    pub async fn fetch(&self, request: SignedRequest) -> Result<http::Response<Vec<u8>>, Failure> {
        self.policy.check_url_host(&request.url).map_err(|refused| failure::of_url(&refused))?;
        let timeout = request.timeout;
        let deadline = Instant::now() + timeout;
        let mut response = self.head(request, deadline).await?;
        let mut body = ResponseBody::new(MAX_READ_BYTES, 0);
        tokio::time::timeout_at(deadline, body.read(&mut response))
            .await
            .map_err(|_elapsed| failure::timed_out(timeout, Phase::Body))??;
        let body = body.finish();
        if body.truncated {
            let message = format!("the response is longer than {MAX_READ_BYTES} bytes");
            return Err(Failure::new(Outcome::BadAnswer, message));
        }
        let mut whole = http::Response::new(body.kept.to_vec());
        *whole.status_mut() = response.head.status;
        std::mem::swap(whole.headers_mut(), &mut response.head.headers);
        self.reuse(response);
        Ok(whole)
    }
}
