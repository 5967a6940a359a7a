//! Builds the snapshot from the pipeline: opens secrets and compiles mappings.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use super::route::{DestinationRoute, MappingRoute};
use super::snapshot::Routes;
use super::source::SourceRoute;
use crate::domain::destination::Destination;
use crate::domain::id::{DestinationId, MappingId, SourceId};
use crate::domain::mapping::{Mapping, MappingDefinition, UrlValues};
use crate::domain::pause::{Pause, PauseTarget};
use crate::domain::secret::SealedSecret;
use crate::domain::service_time::ServiceTime;
use crate::domain::source::Source;
use crate::functions::Function;
use crate::mapping::CompiledMapping;
use crate::sender::Signer;
use crate::settings::secrets::Purpose;
use crate::store::{Credential, CredentialSlot, Pipeline, SharedSecret};

/// Opens sealed secrets.
pub trait OpenSecret {
    /// Why a secret cannot be opened.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The secret in clear.
    ///
    /// # Errors
    /// When its sealing key is missing or it was tampered with.
    fn open_secret(
        &self,
        sealed: &SealedSecret,
        purpose: Purpose,
    ) -> Result<SecretString, Self::Error>;
}

impl Routes {
    /// Builds the snapshot. A mapping that this version cannot compile is held, with an error in the log,
    /// until a version or a revision can.
    ///
    /// # Errors
    /// When a secret cannot be opened: no request is sent unsigned.
    pub fn build<O: OpenSecret>(
        pipeline: &Pipeline,
        secrets: &O,
        now: ServiceTime,
    ) -> Result<Self, O::Error> {
        let is_active = |shared: &&SharedSecret| shared.secret.retires_at.is_none_or(|at| at > now);
        let mut shared_secrets: HashMap<DestinationId, Vec<SecretString>> = HashMap::new();
        for shared in pipeline.shared_secrets.iter().filter(is_active) {
            let secret = secrets.open_secret(&shared.secret, Purpose::SharedSecret)?;
            shared_secrets.entry(shared.destination_id).or_default().push(secret);
        }
        let active = pipeline.shared_secrets.iter().filter(is_active);
        let mut routes = Self {
            version: pipeline.version,
            secret_retires_at: active.filter_map(|it| it.secret.retires_at).min(),
            ..Self::default()
        };
        let below = Below::of(pipeline);
        for source in &pipeline.sources {
            let mut destinations = Vec::new();
            for destination in below.destinations.get(&source.id).into_iter().flatten().copied() {
                let keys = Keys {
                    shared_secrets: shared_secrets
                        .remove(&destination.id)
                        .unwrap_or_default()
                        .into(),
                    headers: secret_headers(&below, destination.id, secrets)?,
                    parameters: secret_parameters(&below, destination.id, secrets)?,
                };
                let keys = (&below, &keys);
                let route_of_destination = destination_route(pipeline, source, destination, keys);
                for mapping in &route_of_destination.mappings {
                    routes.mappings.insert(mapping.id, Arc::clone(mapping));
                }
                destinations.push(Arc::new(route_of_destination));
            }
            let name = source.name.clone();
            let route =
                SourceRoute::new(source.id, name, source.enabled, source.limits, destinations);
            routes.sources.insert(source.id, Arc::new(route));
        }
        for key in &pipeline.write_keys {
            if let Some(source) = routes.sources.get(&key.source_id) {
                routes.sources_by_key.insert(key.digest, Arc::clone(source));
            }
        }
        Ok(routes)
    }
}

/// What is stored below each parent.
#[derive(Default)]
struct Below<'a> {
    destinations: HashMap<SourceId, Vec<&'a Destination>>,
    mappings: HashMap<DestinationId, Vec<&'a Mapping>>,
    credentials: HashMap<DestinationId, Vec<&'a Credential>>,
    pauses: HashMap<PauseTarget, &'a Pause>,
    waits: HashMap<MappingId, ServiceTime>,
}

impl<'a> Below<'a> {
    fn of(pipeline: &'a Pipeline) -> Self {
        let mut below = Self::default();
        for it in &pipeline.destinations {
            below.destinations.entry(it.source_id).or_default().push(it);
        }
        for it in &pipeline.mappings {
            below.mappings.entry(it.destination_id).or_default().push(it);
        }
        for it in &pipeline.credentials {
            below.credentials.entry(it.destination_id).or_default().push(it);
        }
        below.pauses = pipeline.pauses.iter().map(|it| (it.target, it)).collect();
        below.waits = pipeline.receiver_waits.iter().map(|it| (it.mapping_id, it.until)).collect();
        below
    }
}

/// A destination's opened secrets.
struct Keys {
    shared_secrets: Arc<[SecretString]>,
    headers: Arc<[(HeaderName, HeaderValue)]>,
    parameters: Arc<[(String, SecretString)]>,
}

fn destination_route(
    pipeline: &Pipeline,
    source: &Source,
    destination: &Destination,
    (below, keys): (&Below<'_>, &Keys),
) -> DestinationRoute {
    let signer = Signer::rotating(&keys.shared_secrets, destination.settings.x_signature);
    let signer = Arc::new(signer);
    let held = pipeline.held(destination).is_some();
    let pause = below.pauses.get(&PauseTarget::Destination(destination.id)).copied();
    let resumed_at = destination.resumed_at.max(resumption(pause));
    let secret_names = destination.settings.secret_header_spellings();
    let mut mappings = Vec::new();
    for mapping in below.mappings.get(&destination.id).into_iter().flatten() {
        let name = format!("{}/{}/{}", source.name, destination.name, mapping.name);
        let Some(Compiled { mapping: mut compiled, function, fault }) = compile(mapping, &name)
        else {
            continue;
        };
        compiled.spell_also(&secret_names);
        let own = below.pauses.get(&PauseTarget::Mapping(mapping.id)).copied();
        mappings.push(Arc::new(MappingRoute {
            id: mapping.id,
            name,
            enabled: mapping.enabled && destination.enabled,
            held: held || fault.is_some(),
            fault,
            paused: [own, pause].into_iter().flatten().find(|it| it.is_paused()).map(|it| it.cause),
            drain: own.and_then(Pause::drain),
            destination_drain: pause.and_then(Pause::drain),
            wait_until: below.waits.get(&mapping.id).copied(),
            resumed_at: mapping.resumed_at.max(resumed_at).max(resumption(own)),
            revision_id: mapping.revision.id,
            destination_id: destination.id,
            settings: destination.settings.clone(),
            batching: mapping.revision.definition.batching,
            signer: Arc::clone(&signer),
            shared_secrets: Arc::clone(&keys.shared_secrets),
            function,
            secret_headers: Arc::clone(&keys.headers),
            secret_parameters: Arc::clone(&keys.parameters),
            profile: mapping.revision.definition.profile,
            compiled,
        }));
    }
    DestinationRoute {
        id: destination.id,
        name: destination.name.clone(),
        enabled: destination.enabled,
        settings: destination.settings.clone(),
        mappings,
    }
}

/// When a pause ended.
fn resumption(pause: Option<&Pause>) -> ServiceTime {
    pause.and_then(|it| it.resumed_at).unwrap_or_default()
}

/// The destination's secret headers. They were validated when they were saved.
fn secret_headers<O: OpenSecret>(
    below: &Below<'_>,
    id: DestinationId,
    secrets: &O,
) -> Result<Arc<[(HeaderName, HeaderValue)]>, O::Error> {
    let mut headers = Vec::new();
    for credential in below.credentials.get(&id).into_iter().flatten() {
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

/// The destination's secret query parameters.
fn secret_parameters<O: OpenSecret>(
    below: &Below<'_>,
    id: DestinationId,
    secrets: &O,
) -> Result<Arc<[(String, SecretString)]>, O::Error> {
    let mut parameters = Vec::new();
    for credential in below.credentials.get(&id).into_iter().flatten() {
        let CredentialSlot::Parameter(name) = &credential.slot else { continue };
        let value = secrets.open_secret(&credential.secret, Purpose::SecretParameter)?;
        parameters.push((name.clone(), value));
    }
    Ok(parameters.into())
}

/// A mapping's compiled definition.
struct Compiled {
    mapping: CompiledMapping,
    function: Option<Function>,
    /// Why the mapping cannot be compiled: it only stands in, and the mapping's deliveries are held.
    fault: Option<String>,
}

/// Compiles a mapping. One that this version cannot compile gets a stand-in with its trigger, or with one that
/// matches every event where the trigger is the reason: nothing is lost until the mapping can be compiled.
fn compile(mapping: &Mapping, name: &str) -> Option<Compiled> {
    let definition = &mapping.revision.definition;
    match try_compile(definition, name) {
        Ok((mapping, function)) => Some(Compiled { mapping, function, fault: None }),
        Err(fault) => [definition.trigger.as_str(), ""].into_iter().find_map(|trigger| {
            let stand_in = MappingDefinition {
                trigger: trigger.to_owned(),
                url: Value::from("https://held.invalid/"),
                url_values: UrlValues::default(),
                profile: definition.profile,
                method: definition.method.clone(),
                headers: Map::new(),
                data: None,
                function: None,
                batching: None,
            };
            let mapping = CompiledMapping::compile(&stand_in).ok()?;
            Some(Compiled { mapping, function: None, fault: Some(fault.clone()) })
        }),
    }
}

fn try_compile(
    definition: &MappingDefinition,
    name: &str,
) -> Result<(CompiledMapping, Option<Function>), String> {
    let function = definition.function.as_deref().map(Function::of).transpose();
    let function = function.map_err(|(field, message)| {
        tracing::error!(mapping = name, "held: function.{field} {message}");
        format!("function.{field}: {message}")
    })?;
    let compiled = CompiledMapping::compile(definition).map_err(|faults| {
        for fault in &faults {
            tracing::error!(mapping = name, path = fault.path, "held: {}", fault.message);
        }
        let words: Vec<_> =
            faults.iter().map(|it| format!("{}: {}", it.path, it.message)).collect();
        words.join("; ")
    })?;
    Ok((compiled, function))
}
