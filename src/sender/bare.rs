//! A bare POST by reqwest with nothing around it: the bench's baseline. No delivery goes this way, for
//! it guards no address and signs nothing.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use url::Url;

use super::operator;
use super::tls;

/// The bare client could not be set up, or got no answer.
#[derive(Debug, thiserror::Error)]
pub enum BareError {
    /// The TLS settings do not hold.
    #[error("the TLS settings do not hold")]
    Tls(#[source] rustls::Error),
    /// The HTTP client failed.
    #[error("the HTTP client failed")]
    Http(#[source] reqwest::Error),
}

/// Posts to one URL. Clones share their connections.
#[derive(Clone, Debug)]
pub struct BareClient {
    client: reqwest::Client,
    url: Url,
}

impl BareClient {
    /// A client for this URL.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(url: Url) -> Result<Self, BareError> {
        let config = tls::distrusting_config().map_err(BareError::Tls)?;
        let client = operator::client(config).build().map_err(BareError::Http)?;
        Ok(Self { client, url })
    }

    /// Posts JSON, and reads the whole answer.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub async fn post(&self, body: Bytes) -> Result<StatusCode, BareError> {
        let json = HeaderValue::from_static("application/json");
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, json).body(body);
        let answer = request.send().await.map_err(BareError::Http)?;
        let status = answer.status();
        answer.bytes().await.map_err(BareError::Http)?;
        Ok(status)
    }
}
