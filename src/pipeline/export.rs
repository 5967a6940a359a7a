//! The stored pipeline as documents that would recreate it, with the word `kept` for each secret.

use std::collections::BTreeMap;

use super::auth_document::{AuthDocument, AuthKind};
use super::document::{DestinationDocument, GivenFunction, MappingDocument, SourceDocument};
use super::given_secret::GivenSecret;
use crate::domain::destination::{Destination, XSignatureKey};
use crate::domain::mapping::{Mapping, MappingDefinition};
use crate::domain::outbound_auth::{Auth, CodeClient, OauthClient};
use crate::domain::source::{Source, SourceLimits};
use crate::store::{CredentialSlot, Pipeline};

impl SourceDocument {
    /// What it may send.
    pub(super) const fn limits(&self) -> SourceLimits {
        SourceLimits {
            rate_per_second: self.rate_per_second,
            burst: self.burst,
            daily_quota: self.daily_quota,
            client_ip: self.client_ip,
        }
    }

    /// A source without its destinations.
    #[must_use]
    pub fn of(source: &Source) -> Self {
        Self {
            name: source.name.clone(),
            id: None,
            renamed_from: None,
            enabled: source.enabled,
            rate_per_second: source.limits.rate_per_second,
            burst: source.limits.burst,
            daily_quota: source.limits.daily_quota,
            client_ip: source.limits.client_ip,
            write_key: None,
            destinations: Vec::new(),
        }
    }
}

impl DestinationDocument {
    /// A destination without its mappings.
    #[must_use]
    pub fn of(destination: &Destination, pipeline: &Pipeline) -> Self {
        let id = destination.id;
        let holds = |slot| pipeline.credential(id, slot).is_some().then_some(GivenSecret::Kept);
        let is_signed = pipeline.shared_secrets.iter().any(|one| one.destination_id == id);
        let settings = &destination.settings;
        let spellings = settings.secret_header_spellings();
        let (mut headers, mut parameters) = (BTreeMap::new(), BTreeMap::new());
        for one in pipeline.credentials.iter().filter(|one| one.destination_id == id) {
            match &one.slot {
                CredentialSlot::Header(name) => {
                    let name = spellings.spell(name).to_owned();
                    headers.insert(name, GivenSecret::Kept)
                }
                CredentialSlot::Parameter(name) => {
                    parameters.insert(name.clone(), GivenSecret::Kept)
                }
                CredentialSlot::BearerToken | CredentialSlot::ClientSecret => None,
            };
        }
        let auth = AuthDocument {
            token: holds(&CredentialSlot::BearerToken),
            client_secret: holds(&CredentialSlot::ClientSecret),
            ..AuthDocument::of(&settings.auth)
        };
        Self {
            name: destination.name.clone(),
            id: None,
            renamed_from: None,
            enabled: destination.enabled,
            shared_secret: is_signed.then_some(GivenSecret::Kept),
            allow_weak_secret: false,
            timeout_ms: settings.timeout_ms,
            window_ms: settings.window_ms,
            max_in_flight: settings.max_in_flight,
            rate_per_second: settings.rate_per_second,
            policy: settings.policy,
            auth: (auth.kind != AuthKind::None).then_some(auth),
            secret_headers: (!headers.is_empty()).then_some(headers),
            secret_parameters: (!parameters.is_empty()).then_some(parameters),
            allowed_hosts: settings.allowed_hosts.clone(),
            allow_http: settings.allow_http,
            x_signature: (settings.x_signature != XSignatureKey::default())
                .then_some(settings.x_signature),
            on_gone: settings.on_gone,
            mappings: Vec::new(),
        }
    }
}

impl AuthDocument {
    /// The settings, without secrets.
    pub(super) fn of(auth: &Auth) -> Self {
        let client = |kind, client: &OauthClient| Self {
            kind,
            token_url: Some(client.token_url.clone()),
            client_id: Some(client.client_id.clone()),
            client_auth: Some(client.client_auth),
            scopes: Some(client.scopes.clone()),
            parameters: Some(client.parameters.clone()),
            token_prefix: client.token_prefix.clone(),
            ..Self::default()
        };
        match auth {
            Auth::None => Self::default(),
            Auth::Bearer => Self { kind: AuthKind::Bearer, ..Self::default() },
            Auth::ClientCredentials(of) => client(AuthKind::ClientCredentials, of),
            Auth::AuthorizationCode(CodeClient { authorize_url, refresh_url, client: of }) => {
                Self {
                    authorize_url: Some(authorize_url.clone()),
                    refresh_url: refresh_url.clone(),
                    ..client(AuthKind::AuthorizationCode, of)
                }
            }
        }
    }
}

impl MappingDocument {
    /// A mapping with its current definition.
    #[must_use]
    pub fn of(mapping: &Mapping) -> Self {
        Self::with_definition(&mapping.name, mapping.enabled, &mapping.revision.definition)
    }

    /// A mapping with this definition.
    #[must_use]
    pub fn with_definition(name: &str, enabled: bool, definition: &MappingDefinition) -> Self {
        let definition = definition.clone();
        Self {
            name: name.to_owned(),
            id: None,
            renamed_from: None,
            enabled,
            trigger: definition.trigger,
            url: definition.url,
            url_values: definition.url_values,
            profile: definition.profile,
            method: definition.method,
            headers: definition.headers,
            data: definition.data,
            function: definition.function.map(|function| GivenFunction {
                source: Some(function.source),
                file: None,
                settings: function.settings,
            }),
            batching: definition.batching,
        }
    }
}
