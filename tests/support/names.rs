//! A resolver that answers from a table, so that tests can have names of their own, names that
//! change their mind and names that never answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use postrider::sender::{Resolve, ResolveError};

/// What a name gives when it is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// NXDOMAIN.
    NoSuchName,
    /// It exists without an address.
    NoAddress,
    /// No name server answers.
    Timeout,
    /// Nothing, ever.
    Never,
}

impl Answer {
    /// These addresses.
    pub(crate) fn addresses(addresses: &[&str]) -> Self {
        Self::Addresses(addresses.iter().map(|text| text.parse().unwrap()).collect())
    }
}

/// The table. Names that it does not hold do not exist.
#[derive(Debug, Default)]
pub(crate) struct Names {
    answers: Mutex<HashMap<String, Vec<Answer>>>,
    asked: Mutex<Vec<String>>,
}

impl Names {
    /// A table in which every one of these names is 127.0.0.1.
    pub(crate) fn on_loopback(names: &[&str]) -> Arc<Self> {
        let table = Arc::new(Self::default());
        for name in names {
            table.set(name, vec![Answer::addresses(&["127.0.0.1"])]);
        }
        table
    }

    /// A name's answers, one after the other; the last goes on for ever.
    pub(crate) fn set(&self, name: &str, answers: Vec<Answer>) {
        self.answers.lock().unwrap().insert(name.to_owned(), answers);
    }

    /// The names that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn answer(&self, name: &str) -> Answer {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut answers = self.answers.lock().unwrap();
        match answers.get_mut(name) {
            None => Answer::NoSuchName,
            Some(left) if left.len() > 1 => left.remove(0),
            Some(left) => left[0].clone(),
        }
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        match self.answer(name) {
            Answer::Addresses(addresses) => Ok(addresses),
            Answer::NoSuchName => Err(ResolveError::NoSuchName(name.to_owned())),
            Answer::NoAddress => Err(ResolveError::NoAddress(name.to_owned())),
            Answer::Timeout => Err(ResolveError::Timeout(name.to_owned())),
            Answer::Never => std::future::pending().await,
        }
    }
}
