//! DNS resolution with SSRF protection. Every connect resolves and checks again, and one refused address
//! refuses the whole name, so DNS rebinding and mixed answers cannot reach an internal address.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::Name;

use super::address::{AddressPolicy, AddressRefused};
use super::local_resource::{LocalResource, lacking_for_a_socket};

/// Resolves a name to its IPv4 and IPv6 addresses.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of this name.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError>;
}

/// Why a name could not be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// NXDOMAIN.
    #[error("DNS: the name `{0}` does not exist")]
    NoSuchName(String),
    /// The name exists and has neither A nor AAAA records.
    #[error("DNS: the name `{0}` has no address")]
    NoAddress(String),
    /// No name server answered in time.
    #[error("DNS: no name server answered in time for `{0}`")]
    Timeout(String),
    /// This machine lacks what a lookup needs.
    #[error("DNS: {}", .0.describe())]
    Exhausted(LocalResource),
    /// Any other error: no name server reached, SERVFAIL, a malformed name.
    #[error("DNS: resolving `{name}` failed")]
    Failed {
        /// The name.
        name: String,
        /// The resolver's error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The system's resolver: `/etc/hosts` and the name servers of `/etc/resolv.conf`.
pub(super) struct SystemResolver(TokioResolver);

impl SystemResolver {
    pub(super) fn new() -> Result<Self, NetError> {
        let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|fault| {
            // glibc's default without a configuration.
            tracing::warn!(%fault, "no usable resolver configuration: using 127.0.0.1");
            let local = NameServerConfig::udp_and_tcp(IpAddr::from([127, 0, 0, 1]));
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![local]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        });
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        Ok(Self(builder.build()?))
    }
}

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        // From ASCII: the URL parser has encoded the name, and IDNA would refuse underscores.
        let parsed = Name::from_ascii(name).map_err(|cause| ResolveError::Failed {
            name: name.to_owned(),
            cause: Box::new(cause),
        })?;
        match self.0.lookup_ip(parsed).await {
            Ok(answer) => Ok(answer.iter().collect()),
            Err(error) if error.is_nx_domain() => Err(ResolveError::NoSuchName(name.to_owned())),
            Err(error) if error.is_no_records_found() => {
                Err(ResolveError::NoAddress(name.to_owned()))
            }
            Err(NetError::Timeout) => Err(ResolveError::Timeout(name.to_owned())),
            Err(error) => match lacking(&error) {
                Some(resource) => Err(ResolveError::Exhausted(resource)),
                None => Err(ResolveError::Failed { name: name.to_owned(), cause: Box::new(error) }),
            },
        }
    }
}

/// What this machine lacked for a lookup. The resolver reports a socket that cannot be opened as a server
/// without a connection.
fn lacking(error: &NetError) -> Option<LocalResource> {
    if let NetError::Io(error) = error {
        LocalResource::exhausted(error)
    } else if matches!(error, NetError::NoConnections) {
        lacking_for_a_socket()
    } else {
        None
    }
}

/// Why a host cannot be connected to.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostError {
    /// The name did not resolve.
    #[error(transparent)]
    Unresolved(#[from] ResolveError),
    /// One of its addresses is refused.
    #[error("{refused} (`{name}` resolves to it)")]
    Refused {
        /// The name.
        name: String,
        /// The address and its range.
        #[source]
        refused: AddressRefused,
    },
}

/// Resolves a name and checks every address against the policy, for every connect by name. Address
/// literals are checked in the URL.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    resolver: Arc<dyn Resolve>,
    policy: Arc<AddressPolicy>,
}

impl GuardedResolver {
    pub(super) fn new(resolver: Arc<dyn Resolve>, policy: Arc<AddressPolicy>) -> Self {
        Self { resolver, policy }
    }

    /// The name's addresses, all of which the policy allows.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, HostError> {
        let addresses = self.resolver.resolve(name).await?;
        if addresses.is_empty() {
            return Err(ResolveError::NoAddress(name.to_owned()).into());
        }
        for address in &addresses {
            self.policy
                .check(*address)
                .map_err(|refused| HostError::Refused { name: name.to_owned(), refused })?;
        }
        Ok(addresses)
    }
}
