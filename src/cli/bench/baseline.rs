//! The baseline: a plain POST loop with reqwest, without signatures, SSRF protection or an outbox.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

/// The baseline client could not be initialized, or received no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum BaselineError {
    /// TLS could not be initialized.
    #[error("TLS could not be initialized")]
    Tls(#[source] rustls::Error),
    /// The HTTP client failed.
    #[error("the HTTP client failed")]
    Http(#[source] reqwest::Error),
}

/// Posts to one URL. Clones share the connection pool.
#[derive(Clone, Debug)]
pub(super) struct BaselineClient {
    client: reqwest::Client,
    url: Url,
}

impl BaselineClient {
    /// A client for this URL, plain HTTP only.
    ///
    /// # Errors
    /// When the HTTP client cannot be initialized.
    pub(super) fn new(url: Url) -> Result<Self, BaselineError> {
        // reqwest is built without a TLS provider and wants a configuration even for plain HTTP.
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(BaselineError::Tls)?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        #[expect(clippy::disallowed_methods, reason = "the baseline is reqwest itself")]
        let builder = reqwest::Client::builder();
        let client = builder
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .pool_max_idle_per_host(1_024)
            .build()
            .map_err(BaselineError::Http)?;
        Ok(Self { client, url })
    }

    /// Posts JSON and reads the whole response.
    ///
    /// # Errors
    /// When no whole response is received.
    pub(super) async fn post(&self, body: Bytes) -> Result<StatusCode, BaselineError> {
        let json = HeaderValue::from_static("application/json");
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, json).body(body);
        let response = request.send().await.map_err(BaselineError::Http)?;
        let status = response.status();
        response.bytes().await.map_err(BaselineError::Http)?;
        Ok(status)
    }
}
