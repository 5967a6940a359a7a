//! From names to addresses, under guard: one refused address among the answers refuses the whole
//! destination, so that a name cannot lead a request astray by answering twice.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use super::address::{AddressPolicy, AddressRefused};

/// Finds a name's addresses, of both families.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of this name; never an empty list.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError>;
}

/// Why a name gave no address.
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
    /// Anything else: no name server reached, a server failure, a name that is not one.
    #[error("DNS: looking up `{name}` failed")]
    Failed {
        /// The name.
        name: String,
        /// What the resolver says.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The system's resolver: `/etc/hosts` and the name servers of `/etc/resolv.conf`.
pub(super) struct SystemResolver(TokioResolver);

impl SystemResolver {
    pub(super) fn new() -> Result<Self, NetError> {
        let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|fault| {
            // As the C library does when there is no configuration.
            tracing::warn!(%fault, "no usable resolver configuration; asking 127.0.0.1");
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
        match self.0.lookup_ip(name).await {
            Ok(answer) => Ok(answer.iter().collect()),
            Err(fault) if fault.is_nx_domain() => Err(ResolveError::NoSuchName(name.to_owned())),
            Err(fault) if fault.is_no_records_found() => {
                Err(ResolveError::NoAddress(name.to_owned()))
            }
            Err(NetError::Timeout) => Err(ResolveError::Timeout(name.to_owned())),
            Err(fault) => {
                Err(ResolveError::Failed { name: name.to_owned(), cause: Box::new(fault) })
            }
        }
    }
}

/// Why a host may not or cannot be connected to.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostFault {
    /// It has no address.
    #[error(transparent)]
    Unresolved(#[from] ResolveError),
    /// One of its addresses is refused.
    #[error("{refused} (it is what `{name}` resolves to)")]
    Refused {
        /// The name.
        name: String,
        /// The address and why.
        #[source]
        refused: AddressRefused,
    },
}

/// Resolves and judges; what every connection by name is made by. Address literals never come here.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    resolver: Arc<dyn Resolve>,
    policy: Arc<AddressPolicy>,
}

impl GuardedResolver {
    pub(super) fn new(resolver: Arc<dyn Resolve>, policy: Arc<AddressPolicy>) -> Self {
        Self { resolver, policy }
    }

    /// The name's addresses, all of them allowed.
    pub(super) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, HostFault> {
        let addresses = self.resolver.resolve(name).await?;
        if addresses.is_empty() {
            return Err(ResolveError::NoAddress(name.to_owned()).into());
        }
        for address in &addresses {
            self.policy
                .check(*address)
                .map_err(|refused| HostFault::Refused { name: name.to_owned(), refused })?;
        }
        Ok(addresses)
    }
}
