//! What is set up, ready to use: an immutable snapshot of sources, destinations and mappings that
//! intake routes by and the dispatcher delivers by. A change of the pipeline swaps the snapshot.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::clock::Timestamp;
use crate::domain::destination::DestinationSettings;
use crate::domain::digest::sha256;
use crate::domain::id::{DestinationId, MappingId, RevisionId, SourceId};
use crate::domain::mapping::{Batching, Mapping};
use crate::functions::Function;
use crate::json::Value;
use crate::mapping::CompiledMapping;
use crate::sender::Signer;
use crate::settings::secrets::Purpose;
use crate::store::{CredentialSlot, Pipeline, SealedSecret, SharedSecret};

/// A source and where its events go.
#[derive(Debug)]
pub struct SourceRoute {
    /// The key.
    pub id: SourceId,
    /// The identity.
    pub name: String,
    /// A disabled source refuses events.
    pub enabled: bool,
    /// Its destinations.
    pub destinations: Vec<Arc<DestinationRoute>>,
}

/// A destination and its mappings.
#[derive(Debug)]
pub struct DestinationRoute {
    /// The key.
    pub id: DestinationId,
    /// The identity within its source; what an event's `integrations` names.
    pub name: String,
    /// A disabled destination gets no deliveries.
    pub enabled: bool,
    /// The rest.
    pub settings: DestinationSettings,
    /// Its mappings.
    pub mappings: Vec<Arc<MappingRoute>>,
}

/// A mapping with everything an attempt needs.
#[derive(Debug)]
pub struct MappingRoute {
    /// The key.
    pub id: MappingId,
    /// `source/destination/mapping`, for logs.
    pub name: String,
    /// Whether it and its destination are enabled: otherwise its deliveries are held.
    pub enabled: bool,
    /// Whether its destination waits to be connected: its deliveries are held, new ones too.
    pub held: bool,
    /// When it or its destination was last enabled or connected: held deliveries have a window from here.
    pub resumed_at: Timestamp,
    /// The revision in force.
    pub revision_id: RevisionId,
    /// Its destination.
    pub destination_id: DestinationId,
    /// Its destination's settings.
    pub settings: DestinationSettings,
    /// How its events share requests; none: one request an event.
    pub batching: Option<Batching>,
    /// Signs with its destination's secrets.
    pub signer: Arc<Signer>,
    /// Its destination's shared secrets in force, for whoever checks what was signed with them.
    pub shared_secrets: Arc<[SecretString]>,
    /// What events go through before they are rendered.
    pub function: Option<Function>,
    /// The headers that its destination adds to every request; marked as sensitive.
    pub secret_headers: Arc<[(HeaderName, HeaderValue)]>,
    compiled: CompiledMapping,
}

impl MappingRoute {
    /// Whether the mapping wants an event, by the event's document.
    #[must_use]
    pub fn matches(&self, document: &Value<'_>) -> bool {
        self.compiled.matches(document)
    }

    /// Whether its deliveries can go out: otherwise they are held.
    #[must_use]
    pub const fn delivers(&self) -> bool {
        self.enabled && !self.held
    }

    /// What makes its requests.
    #[must_use]
    pub const fn compiled(&self) -> &CompiledMapping {
        &self.compiled
    }

    /// How long a lease of its deliveries lasts: the attempt and, before it, the wait for others.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.settings.lease() + self.batching.map_or(Duration::ZERO, |it| it.linger())
    }

    /// Deadlines earlier than this were given before the mapping was enabled again.
    #[must_use]
    pub fn resumed_deadline_at(&self) -> Timestamp {
        self.resumed_at + self.settings.window()
    }
}

/// The snapshot.
#[derive(Debug, Default)]
pub struct Routes {
    /// The pipeline's version it was made from.
    pub version: i64,
    /// When the next shared secret that is being rotated out ends: then they are to be made again.
    pub secret_retires_at: Option<Timestamp>,
    sources_by_key: HashMap<[u8; 32], Arc<SourceRoute>>,
    sources: HashMap<SourceId, Arc<SourceRoute>>,
    mappings: HashMap<MappingId, Arc<MappingRoute>>,
}

/// Opens a sealed secret.
pub trait OpenSecret {
    /// Why it cannot.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The secret in clear.
    ///
    /// # Errors
    /// When its key is not at hand or it was tampered with.
    fn open_secret(
        &self,
        sealed: &SealedSecret,
        purpose: Purpose,
    ) -> Result<SecretString, Self::Error>;
}

impl Routes {
    /// Makes the snapshot of what is set up. A mapping that this version cannot compile is held, with
    /// an error in the log: its deliveries wait for a version or a revision that can.
    ///
    /// # Errors
    /// When a secret cannot be opened: nothing may go out unsigned.
    pub fn build<O: OpenSecret>(
        pipeline: &Pipeline,
        secrets: &O,
        now: Timestamp,
    ) -> Result<Self, O::Error> {
        let in_force = |shared: &&SharedSecret| shared.secret.retires_at.is_none_or(|at| at > now);
        let mut signers: HashMap<DestinationId, Vec<SecretString>> = HashMap::new();
        for shared in pipeline.shared_secrets.iter().filter(in_force) {
            let secret = secrets.open_secret(&shared.secret, Purpose::SharedSecret)?;
            signers.entry(shared.destination_id).or_default().push(secret);
        }
        let retiring = pipeline.shared_secrets.iter().filter(in_force);
        let mut routes = Self {
            version: pipeline.version,
            secret_retires_at: retiring.filter_map(|it| it.secret.retires_at).min(),
            ..Self::default()
        };
        let mut sources = HashMap::new();
        for source in &pipeline.sources {
            let mut route = SourceRoute {
                id: source.id,
                name: source.name.clone(),
                enabled: source.enabled,
                destinations: Vec::new(),
            };
            for destination in pipeline.destinations.iter().filter(|it| it.source_id == source.id) {
                let shared_secrets: Arc<[SecretString]> =
                    signers.remove(&destination.id).unwrap_or_default().into();
                let signer = Arc::new(Signer::new(&shared_secrets));
                let secret_headers = secret_headers(pipeline, destination.id, secrets)?;
                let held = pipeline.held(destination).is_some();
                let connection = pipeline.connection(destination.id);
                let connected_at = connection.and_then(|one| one.connected_at).unwrap_or_default();
                let resumed_at = destination.resumed_at.max(connected_at);
                let mut mappings = Vec::new();
                for mapping in
                    pipeline.mappings.iter().filter(|it| it.destination_id == destination.id)
                {
                    let name = format!("{}/{}/{}", source.name, destination.name, mapping.name);
                    let Some((compiled, function)) = compile(mapping, &name) else { continue };
                    let mapping = Arc::new(MappingRoute {
                        id: mapping.id,
                        name,
                        enabled: mapping.enabled && destination.enabled,
                        held,
                        resumed_at: mapping.resumed_at.max(resumed_at),
                        revision_id: mapping.revision.id,
                        destination_id: destination.id,
                        settings: destination.settings.clone(),
                        batching: mapping.revision.definition.batching,
                        signer: Arc::clone(&signer),
                        shared_secrets: Arc::clone(&shared_secrets),
                        function,
                        secret_headers: Arc::clone(&secret_headers),
                        compiled,
                    });
                    routes.mappings.insert(mapping.id, Arc::clone(&mapping));
                    mappings.push(mapping);
                }
                route.destinations.push(Arc::new(DestinationRoute {
                    id: destination.id,
                    name: destination.name.clone(),
                    enabled: destination.enabled,
                    settings: destination.settings.clone(),
                    mappings,
                }));
            }
            sources.insert(source.id, Arc::new(route));
        }
        for key in &pipeline.write_keys {
            if let Some(source) = sources.get(&key.source_id) {
                routes.sources_by_key.insert(key.digest, Arc::clone(source));
            }
        }
        Ok(Self { sources, ..routes })
    }

    /// The source of this name.
    #[must_use]
    pub fn source_named(&self, name: &str) -> Option<&Arc<SourceRoute>> {
        self.sources.values().find(|source| source.name == name)
    }

    /// The source a write key lets in to.
    #[must_use]
    pub fn source_by_write_key(&self, key: &str) -> Option<&Arc<SourceRoute>> {
        self.sources_by_key.get(&sha256(&[key.as_bytes()]))
    }

    /// A mapping.
    #[must_use]
    pub fn mapping(&self, id: MappingId) -> Option<&Arc<MappingRoute>> {
        self.mappings.get(&id)
    }

    /// Every mapping.
    pub fn mappings(&self) -> impl Iterator<Item = &Arc<MappingRoute>> {
        self.mappings.values()
    }
}

/// The headers that a destination adds to every request. They were checked when they were saved.
fn secret_headers<O: OpenSecret>(
    pipeline: &Pipeline,
    id: DestinationId,
    secrets: &O,
) -> Result<Arc<[(HeaderName, HeaderValue)]>, O::Error> {
    let mut headers = Vec::new();
    for credential in pipeline.credentials.iter().filter(|one| one.destination_id == id) {
        let CredentialSlot::Header(name) = &credential.slot else { continue };
        let value = secrets.open_secret(&credential.secret, Purpose::SecretHeader)?;
        let name = HeaderName::try_from(name.as_str());
        let value = HeaderValue::try_from(value.expose_secret());
        if let (Ok(name), Ok(mut value)) = (name, value) {
            value.set_sensitive(true);
            headers.push((name, value));
        }
    }
    Ok(headers.into())
}

fn compile(mapping: &Mapping, name: &str) -> Option<(CompiledMapping, Option<Function>)> {
    let definition = &mapping.revision.definition;
    let function = match definition.function.as_deref().map(Function::of).transpose() {
        Ok(function) => function,
        Err((field, message)) => {
            tracing::error!(mapping = name, "held: function.{field} {message}");
            return None;
        }
    };
    match CompiledMapping::compile(definition) {
        Ok(compiled) => Some((compiled, function)),
        Err(faults) => {
            for fault in faults {
                tracing::error!(mapping = name, path = fault.path, "held: {}", fault.message);
            }
            None
        }
    }
}

/// The snapshot in force; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LiveRoutes(Arc<RwLock<Arc<Routes>>>);

impl LiveRoutes {
    /// Starts with this snapshot.
    #[must_use]
    pub fn new(routes: Routes) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(routes))))
    }

    /// The snapshot now in force.
    #[must_use]
    pub fn current(&self) -> Arc<Routes> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another in force.
    pub fn swap(&self, routes: Routes) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
    }
}
