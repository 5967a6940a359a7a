//! A DNS resolver with a table, for test host names, DNS rebinding and timeouts.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use postrider::sender::{LocalResource, Resolve, ResolveError};

/// The answer to a lookup.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Addresses.
    Addresses(Vec<IpAddr>),
    /// NXDOMAIN.
    NoSuchName,
    /// The name exists and has no address.
    NoAddress,
    /// The name server timed out.
    Timeout,
    /// This machine has no descriptor left for the lookup.
    Exhausted,
    /// The lookup never ends.
    Never,
}

impl Answer {
    /// These addresses.
    pub(crate) fn addresses(addresses: &[&str]) -> Self {
        Self::Addresses(addresses.iter().map(|text| text.parse().unwrap()).collect())
    }
}

/// The resolver; names that are not in its table do not exist.
#[derive(Debug, Default)]
pub(crate) struct TableResolver {
    answers: Mutex<HashMap<String, Vec<Answer>>>,
    lookups: Mutex<Vec<String>>,
}

impl TableResolver {
    /// A table that maps these names to 127.0.0.1.
    pub(crate) fn on_loopback(names: &[&str]) -> Arc<Self> {
        let table = Arc::new(Self::default());
        for name in names {
            table.set(name, vec![Answer::addresses(&["127.0.0.1"])]);
        }
        table
    }

    /// Sets a name's answers, in order; the last one repeats.
    pub(crate) fn set(&self, name: &str, answers: Vec<Answer>) {
        self.answers.lock().unwrap().insert(name.to_owned(), answers);
    }

    /// The names that were looked up, in order.
    pub(crate) fn lookups(&self) -> Vec<String> {
        self.lookups.lock().unwrap().clone()
    }

    fn answer(&self, name: &str) -> Answer {
        self.lookups.lock().unwrap().push(name.to_owned());
        let mut answers = self.answers.lock().unwrap();
        match answers.get_mut(name) {
            None => Answer::NoSuchName,
            Some(left) if left.len() > 1 => left.remove(0),
            Some(left) => left[0].clone(),
        }
    }
}

#[async_trait]
impl Resolve for TableResolver {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        match self.answer(name) {
            Answer::Addresses(addresses) => Ok(addresses),
            Answer::NoSuchName => Err(ResolveError::NoSuchName(name.to_owned())),
            Answer::NoAddress => Err(ResolveError::NoAddress(name.to_owned())),
            Answer::Timeout => Err(ResolveError::Timeout(name.to_owned())),
            Answer::Exhausted => Err(ResolveError::Exhausted(LocalResource::Descriptors)),
            Answer::Never => std::future::pending().await,
        }
    }
}
