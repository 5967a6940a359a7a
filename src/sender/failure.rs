//! Classifies the errors of DNS, TCP, TLS and HTTP into an outcome and a message that names the cause.
//! A message never contains the URL, whose query may be secret, or a header.

use std::error::Error;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

use super::address::UrlRefused;
use super::local_resource::LocalResource;
use super::phase::Phase;
use super::resolver::{HostError, ResolveError};
use crate::domain::attempt::Outcome;
use crate::domain::error_chain;

/// A request that failed without a whole response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The outcome of the attempt.
    pub outcome: Outcome,
    /// The error with its cause.
    pub message: String,
    /// What this machine lacked, so that the failure says nothing about the receiver.
    pub local: Option<LocalResource>,
}

impl Failure {
    /// A failure that is not this machine's.
    #[must_use]
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), local: None }
    }

    fn lacking(outcome: Outcome, resource: LocalResource) -> Self {
        let local = Some(resource);
        Self { local, ..Self::new(outcome, resource.describe()) }
    }
}

/// The message for an error of the API client.
pub(super) fn describe_client_error(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    if error.is_connect() {
        let tls = find::<rustls::Error>(error);
        return tls.map_or_else(|| connect_message(error), |error| of_tls(error).message);
    }
    match last::<io::Error>(error) {
        Some(error) => of_broken(error).message,
        None => format!("the connection broke: {}", root(error)),
    }
}

/// A URL that the address policy refuses.
pub(super) fn of_url(refused: &UrlRefused) -> Failure {
    let outcome = match refused {
        UrlRefused::Address(_) | UrlRefused::Port(_) => Outcome::Address,
        UrlRefused::Scheme(_) | UrlRefused::NoHost | UrlRefused::Userinfo => Outcome::Render,
    };
    Failure::new(outcome, refused.to_string())
}

/// The timeout expired in this phase.
pub(super) fn timed_out(timeout: Duration, phase: Phase) -> Failure {
    let message = format!("timed out after {timeout:?} while {}", phase.describe());
    Failure::new(Outcome::Timeout, message)
}

/// A URL that cannot stand in a request.
pub(super) fn target_too_long() -> Failure {
    Failure::new(Outcome::Render, "the URL cannot be requested: it is too long")
}

/// A host that is refused or does not resolve.
pub(super) fn of_host(error: &HostError) -> Failure {
    match error {
        HostError::Refused { .. } => Failure::new(Outcome::Address, error.to_string()),
        HostError::Unresolved(unresolved) => match unresolved {
            ResolveError::Exhausted(resource) => Failure::lacking(Outcome::Dns, *resource),
            ResolveError::NoSuchName(_)
            | ResolveError::NoAddress(_)
            | ResolveError::Timeout(_)
            | ResolveError::Failed { .. } => {
                Failure::new(Outcome::Dns, error_chain::display(unresolved))
            }
        },
    }
}

/// The TCP connection failed.
pub(super) fn of_connect(error: &io::Error, local: Option<LocalResource>) -> Failure {
    match local {
        Some(resource) => Failure::lacking(Outcome::Connect, resource),
        None => Failure::new(Outcome::Connect, connect_message(error)),
    }
}

fn connect_message(error: &(dyn Error + 'static)) -> String {
    let cause = last::<io::Error>(error).map_or_else(|| root(error), describe_connect);
    format!("connecting failed: {cause}")
}

/// The TLS handshake failed.
pub(super) fn of_handshake(error: &io::Error) -> Failure {
    if let Some(resource) = LocalResource::exhausted(error) {
        return Failure::lacking(Outcome::Tls, resource);
    }
    match find::<rustls::Error>(error) {
        Some(error) => of_tls(error),
        None => tls(&describe_handshake(error)),
    }
}

fn of_tls(error: &rustls::Error) -> Failure {
    tls(&describe_tls(error))
}

pub(super) fn tls(message: &str) -> Failure {
    Failure::new(Outcome::Tls, format!("TLS: {message}"))
}

/// The receiver closed the connection while a request was in flight.
pub(super) fn closed() -> Failure {
    Failure::new(
        Outcome::Reset,
        "the receiver closed the connection before the response was complete",
    )
}

/// A response that is not HTTP.
pub(super) fn malformed(error: &dyn Error) -> Failure {
    Failure::new(Outcome::BadAnswer, format!("the response is not valid HTTP: {error}"))
}

/// A connection error while a request was in flight.
pub(super) fn of_broken(error: &io::Error) -> Failure {
    if let Some(resource) = LocalResource::exhausted(error) {
        return Failure::lacking(Outcome::Reset, resource);
    }
    if let Some(error) = find::<rustls::Error>(error) {
        let message = format!("the TLS session broke: {}", describe_tls(error));
        return Failure::new(Outcome::Reset, message);
    }
    Failure::new(Outcome::Reset, format!("the connection broke: {}", describe_broken(error)))
}

fn describe_connect(cause: &io::Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "`ErrorKind` is non-exhaustive; the other kinds print themselves"
    )]
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::TimedOut => "the operating system's connect timeout expired".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no local address to connect from".to_owned(),
        _ => cause.to_string(),
    }
}

fn describe_handshake(cause: &io::Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "`ErrorKind` is non-exhaustive; the other kinds print themselves"
    )]
    match cause.kind() {
        io::ErrorKind::UnexpectedEof => {
            "the receiver closed the connection in the handshake".to_owned()
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the receiver reset the connection in the handshake".to_owned()
        }
        _ => format!("the handshake failed: {cause}"),
    }
}

fn describe_broken(cause: &io::Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "`ErrorKind` is non-exhaustive; the other kinds print themselves"
    )]
    match cause.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the receiver reset it".to_owned()
        }
        io::ErrorKind::UnexpectedEof => {
            "the receiver closed it before the response was complete".to_owned()
        }
        _ => cause.to_string(),
    }
}

fn describe_tls(error: &rustls::Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls's enum is non-exhaustive; the other errors print themselves"
    )]
    match error {
        rustls::Error::InvalidCertificate(certificate) => {
            format!("the certificate does not verify: {}", describe_certificate(certificate))
        }
        rustls::Error::InvalidMessage(_) => {
            format!("the receiver does not speak TLS here ({error})")
        }
        rustls::Error::AlertReceived(alert) => {
            format!("the receiver refused the session (alert {alert:?})")
        }
        _ => error.to_string(),
    }
}

fn describe_certificate(error: &CertificateError) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls's enum is non-exhaustive; the other errors print themselves"
    )]
    match error {
        CertificateError::UnknownIssuer => {
            "it is self-signed or its issuer is not trusted".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is not valid for this host's name".to_owned()
        }
        CertificateError::Revoked => "it is revoked".to_owned(),
        CertificateError::BadSignature => "its signature is wrong".to_owned(),
        CertificateError::BadEncoding => "it is malformed".to_owned(),
        _ if is_ca(error) => {
            "it is self-signed: a CA certificate used as a server certificate".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Whether the server presented a CA certificate, which is what most tools generate as a self-signed
/// certificate.
fn is_ca(error: &CertificateError) -> bool {
    let CertificateError::Other(other) = error else { return false };
    other.to_string().contains("CaUsedAsEndEntity")
}

/// The first error of this type in the chain.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    error_chain::chain(error).find_map(|cause| cause.downcast_ref())
}

/// The innermost error of this type.
fn last<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    error_chain::chain(error).filter_map(|cause| cause.downcast_ref()).last()
}

fn root(error: &(dyn Error + 'static)) -> String {
    // The outermost error may contain the URL, so without a cause nothing is shown.
    let cause = error_chain::chain(error).skip(1).last();
    cause.map_or_else(|| "no cause given".to_owned(), ToString::to_string)
}
