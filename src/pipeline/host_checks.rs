//! The host names of a change against the address policy: each distinct origin is looked up once, beside
//! the others, all within one budget. One that the stored pipeline uses already is not looked up.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::StreamExt as _;
use url::{Host, Position, Url};

use super::FieldError;
use super::preflight::Preflight;
use crate::domain::mapping::MappingDefinition;
use crate::domain::outbound_auth::Auth;
use crate::mapping::CompiledMapping;
use crate::store::Pipeline;

/// The time for all lookups of a change. Names that do not answer within it are saved like those that
/// do not resolve yet: every connect checks the address again.
const BUDGET: Duration = Duration::from_secs(5);
/// Lookups at once.
const AT_ONCE: usize = 128;

/// What is known of origins with a host name: the reason where one is refused.
#[derive(Debug, Default)]
pub(super) struct HostChecks(HashMap<String, Option<String>>);

impl HostChecks {
    /// Adds the hosts of the stored pipeline.
    pub(super) fn know(&mut self, pipeline: &Pipeline) {
        for mapping in &pipeline.mappings {
            self.know_url(fixed_url(&mapping.revision.definition).as_ref());
        }
        for destination in &pipeline.destinations {
            let auth = &destination.settings.auth;
            let refresh_url = match auth {
                Auth::AuthorizationCode(code) => code.refresh_url.as_deref(),
                Auth::None | Auth::Bearer | Auth::ClientCredentials(_) => None,
            };
            let token_url = auth.client().map(|client| client.token_url.as_str());
            for text in [token_url, refresh_url].into_iter().flatten() {
                self.know_url(Url::parse(text).ok().as_ref());
            }
        }
    }

    fn know_url(&mut self, url: Option<&Url>) {
        if let Some(origin) = url.and_then(named_origin) {
            self.0.entry(origin.to_owned()).or_insert(None);
        }
    }

    /// Checks these URLs; each refused one with the reason.
    pub(super) async fn check(
        &mut self,
        urls: Vec<(String, Url)>,
        preflight: &dyn Preflight,
    ) -> Vec<FieldError> {
        let mut asked: BTreeMap<&str, &Url> = BTreeMap::new();
        for (_, url) in &urls {
            let origin = named_origin(url).filter(|origin| !self.0.contains_key(*origin));
            if let Some(origin) = origin {
                asked.insert(origin, url);
            }
        }
        let answers = answers(asked, preflight).await;
        self.0.extend(answers);
        let mut faults = Vec::new();
        for (path, url) in urls {
            let refused = match named_origin(&url) {
                Some(origin) => self.0.get(origin).cloned().flatten(),
                // An address literal: nothing is looked up.
                None => preflight.check_destination(&url).await.err(),
            };
            faults.extend(refused.map(|why| FieldError::new(path, why)));
        }
        faults
    }
}

/// The answers that come within the budget.
async fn answers(
    asked: BTreeMap<&str, &Url>,
    preflight: &dyn Preflight,
) -> HashMap<String, Option<String>> {
    let (count, mut answers) = (asked.len(), HashMap::new());
    let lookups = asked.into_iter().map(|(origin, url)| lookup(origin, url, preflight));
    let lookups: Vec<_> = lookups.collect();
    let mut lookups = futures_util::stream::iter(lookups).buffer_unordered(AT_ONCE);
    let all = async {
        while let Some((origin, refused)) = lookups.next().await {
            answers.insert(origin, refused);
        }
    };
    if tokio::time::timeout(BUDGET, all).await.is_err() {
        let unanswered = count - answers.len();
        tracing::warn!(unanswered, "saved before all host names were looked up");
    }
    answers
}

async fn lookup(origin: &str, url: &Url, preflight: &dyn Preflight) -> (String, Option<String>) {
    (origin.to_owned(), preflight.check_destination(url).await.err())
}

/// Scheme, host name and port of a URL; none where the host is an address.
fn named_origin(url: &Url) -> Option<&str> {
    match url.host()? {
        Host::Domain(_) => Some(&url[..Position::AfterPort]),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

fn fixed_url(definition: &MappingDefinition) -> Option<Url> {
    match definition.url.as_str() {
        Some(text) => Url::parse(text).ok(),
        None => CompiledMapping::compile(definition).ok()?.fixed_url().cloned(),
    }
}
