//! Certificates for receivers: good ones, and one for every way of being bad. Made anew each run.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// How a receiver's certificate is, or is not, good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Signed by the authority, for the right name, in time.
    Good,
    /// Signed by itself.
    SelfSigned,
    /// Signed by itself and marked as an authority, as some tools do.
    SelfSignedAuthority,
    /// Good until the year 2001.
    Expired,
    /// Good from the year 4000.
    NotYetValid,
    /// Good for another name.
    WrongName,
}

/// A certificate authority of the tests' own.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A fresh one.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the tests' authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// What a client trusts it by.
    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// TLS settings of a receiver called `name` with a certificate of this kind.
    pub(crate) fn server(&self, name: &str, kind: Kind) -> Arc<ServerConfig> {
        let shown = if kind == Kind::WrongName { "another.test" } else { name };
        let mut params = CertificateParams::new([shown.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, shown);
        let key = KeyPair::generate().unwrap();
        let certificate = match kind {
            Kind::SelfSigned => params.self_signed(&key),
            Kind::SelfSignedAuthority => {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.self_signed(&key)
            }
            Kind::Expired => {
                params.not_before = date_time_ymd(2000, 1, 1);
                params.not_after = date_time_ymd(2001, 1, 1);
                params.signed_by(&key, &self.0)
            }
            Kind::NotYetValid => {
                params.not_before = date_time_ymd(4000, 1, 1);
                params.signed_by(&key, &self.0)
            }
            Kind::Good | Kind::WrongName => params.signed_by(&key, &self.0),
        };
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.unwrap().der().clone()], key)
            .unwrap();
        Arc::new(config)
    }
}
