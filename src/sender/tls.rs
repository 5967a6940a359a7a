//! TLS: rustls with ring, HTTP/1.1 only, certificates verified against the platform's roots
//! (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured). Verification cannot be disabled.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::Verifier;

/// Capacity of the TLS session cache, in servers.
const SESSIONS: usize = 1_024;

/// The TLS configuration of every connection to a destination.
pub(super) fn client_config(
    extra_roots: Vec<CertificateDer<'static>>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let wants_verifier = builder(Arc::clone(&provider))?;
    let no_extra_roots = extra_roots.is_empty();
    let wants_identity = match Verifier::new_with_extra_roots(extra_roots, provider) {
        Ok(verifier) => {
            wants_verifier.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        Err(fault) if no_extra_roots => {
            // Without root certificates plain HTTP destinations still work.
            tracing::warn!(
                %fault,
                "no HTTPS destination will verify: install CA certificates or set SSL_CERT_FILE"
            );
            wants_verifier.with_root_certificates(RootCertStore::empty())
        }
        Err(fault) => return Err(fault),
    };
    let mut config = wants_identity.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

/// A configuration without root certificates, for clients that use plain HTTP only.
pub(super) fn no_roots_config() -> Result<ClientConfig, rustls::Error> {
    let wants_verifier = builder(Arc::new(ring::default_provider()))?;
    Ok(wants_verifier.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}
