//! Why a request gave no whole answer: from a connection's errors to an outcome and to words
//! that name the cause. Words never hold the URL, whose query may be secret, or any header.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use super::resolve::{HostFault, ResolveError};
use crate::domain::attempt::Outcome;

/// How an attempt failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) outcome: Outcome,
    pub(super) words: String,
}

impl Fault {
    fn new(outcome: Outcome, words: impl Into<String>) -> Self {
        Self { outcome, words: words.into() }
    }
}

/// Words for the operator's client.
pub(super) fn operator_words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no whole answer in time".to_owned();
    }
    if error.is_connect() {
        let tls = find::<rustls::Error>(error);
        return tls.map_or_else(|| of_connect(error), tls_fault).words;
    }
    match find::<hyper::Error>(error) {
        Some(fault) => of_http(fault).words,
        None => format!("the connection broke: {}", root(error)),
    }
}

/// A URL that cannot be asked for.
pub(super) fn of_target(cause: &dyn Error) -> Fault {
    Fault::new(Outcome::Render, format!("the URL cannot be requested: {cause}"))
}

/// A name's failure, also when it is found before any connection.
pub(super) fn of_host(fault: &HostFault) -> Fault {
    match fault {
        HostFault::Refused { .. } => Fault::new(Outcome::Address, fault.to_string()),
        HostFault::Unresolved(unresolved) => Fault::new(Outcome::Dns, dns_words(unresolved)),
    }
}

fn dns_words(fault: &ResolveError) -> String {
    match fault.source() {
        Some(cause) => format!("{fault}: {cause}"),
        None => fault.to_string(),
    }
}

/// No TCP connection.
pub(super) fn of_connect(error: &(dyn Error + 'static)) -> Fault {
    let words = last::<io::Error>(error).map_or_else(|| root(error), connect_words);
    Fault::new(Outcome::Connect, format!("connecting failed: {words}"))
}

/// No TLS session.
pub(super) fn of_handshake(error: &io::Error) -> Fault {
    match find::<rustls::Error>(error) {
        Some(fault) => tls_fault(fault),
        None => tls(&handshake_words(error)),
    }
}

fn tls_fault(fault: &rustls::Error) -> Fault {
    tls(&tls_words(fault))
}

pub(super) fn tls(words: &str) -> Fault {
    Fault::new(Outcome::Tls, format!("TLS: {words}"))
}

/// The connection ended with a request under way.
pub(super) fn closed() -> Fault {
    let words = "the receiver closed the connection before its answer was whole";
    Fault::new(Outcome::Reset, words)
}

/// A connection that broke, or an answer that is not HTTP.
pub(super) fn of_http(fault: &hyper::Error) -> Fault {
    if let Some(fault) = find::<rustls::Error>(fault) {
        return Fault::new(Outcome::Reset, format!("the TLS session broke: {}", tls_words(fault)));
    }
    let cause = last::<io::Error>(fault);
    let malformed = matches!(
        cause.map(io::Error::kind),
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
    );
    if fault.is_parse() || malformed {
        let words = cause.map_or_else(|| fault.to_string(), ToString::to_string);
        return Fault::new(Outcome::BadAnswer, format!("the answer is not valid HTTP: {words}"));
    }
    if fault.is_incomplete_message() {
        return closed();
    }
    let words = cause.map_or_else(|| fault.to_string(), broken_words);
    Fault::new(Outcome::Reset, format!("the connection broke: {words}"))
}

fn connect_words(cause: &io::Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the standard library's list of kinds is open, the rest speaks for itself"
    )]
    match cause.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::TimedOut => "the system gave up waiting for an answer".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no local port is free for it".to_owned(),
        _ => cause.to_string(),
    }
}

fn handshake_words(cause: &io::Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the standard library's list of kinds is open, the rest speaks for itself"
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

fn broken_words(cause: &io::Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the standard library's list of kinds is open, the rest speaks for itself"
    )]
    match cause.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the receiver reset it".to_owned()
        }
        io::ErrorKind::UnexpectedEof => {
            "the receiver closed it before its answer was whole".to_owned()
        }
        _ => cause.to_string(),
    }
}

fn tls_words(fault: &rustls::Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls's list of errors is open, the rest speaks for itself"
    )]
    match fault {
        rustls::Error::InvalidCertificate(certificate) => {
            format!("the certificate does not verify: {}", certificate_words(certificate))
        }
        rustls::Error::InvalidMessage(_) => {
            format!("the receiver does not speak TLS here ({fault})")
        }
        rustls::Error::AlertReceived(alert) => {
            format!("the receiver refused the session (alert {alert:?})")
        }
        _ => fault.to_string(),
    }
}

fn certificate_words(fault: &CertificateError) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls's list of errors is open, the rest speaks for itself"
    )]
    match fault {
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
        _ if is_ca(fault) => {
            "it is self-signed: an authority's certificate, used as a server's".to_owned()
        }
        _ => fault.to_string(),
    }
}

/// Whether the server showed a certificate authority's own certificate, which is what the usual
/// tools make when asked for a self-signed one.
fn is_ca(fault: &CertificateError) -> bool {
    let CertificateError::Other(other) = fault else { return false };
    other.to_string().contains("CaUsedAsEndEntity")
}

/// The first error of this type in the chain of causes.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// The innermost error of this type.
fn last<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).filter_map(|cause| cause.downcast_ref()).last()
}

fn root(error: &(dyn Error + 'static)) -> String {
    // The outermost error may name the URL; without a cause it says no more than its kind.
    chain(error).skip(1).last().map_or_else(|| "no cause given".to_owned(), ToString::to_string)
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |at| cause_of(*at))
}

fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // An io::Error that wraps another passes over it in `source`.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}
