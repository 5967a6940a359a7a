//! Certificates for receivers: valid ones and one for each kind of error. Generated in each run.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Kinds of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Valid.
    Good,
    /// Self-signed.
    SelfSigned,
    /// Self-signed with the CA flag, as some tools generate it.
    SelfSignedAuthority,
    /// Valid until 2001.
    Expired,
    /// Valid from 4000.
    NotYetValid,
    /// For another host name.
    WrongName,
}

/// The tests' certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Generates an authority.
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "the tests' authority");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// The root certificate.
    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// Its certificate as PEM.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A valid certificate for a host, and its key, as PEM.
    pub(crate) fn certificate(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    /// The TLS configuration of a receiver at host `name` with a certificate of this kind.
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
