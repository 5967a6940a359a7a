//! The difference between the stored pipeline and the desired one. Pure but for the nonces and keys of
//! new secrets.

use std::collections::HashSet;

use secrecy::ExposeSecret as _;

use super::document::{DestinationDocument, Document, MappingDocument, SourceDocument};
use super::field_diff;
use super::field_error::FieldError;
use super::given_secret::{NOTHING_KEPT, is_kept, value};
use super::plan::{DestinationPair, GeneratedWriteKey, Index, Plan, PlanContext, Planner};
use super::resource::Target;
use crate::domain::destination::{Destination, XSignatureKey};
use crate::domain::secret::SealedSecret;
use crate::domain::source::Source;
use crate::settings::secrets::{Purpose, SecretError, digest, generate};
use crate::store::PipelineChange;

/// Computes the plan.
pub(super) fn diff(context: PlanContext<'_>, document: &Document) -> Result<Plan, SecretError> {
    let index = Index::of(context.current);
    let mut planner = Planner { context, index, document, plan: Plan::default() };
    for source in &document.sources {
        planner.source(source)?;
    }
    let desired: HashSet<&str> = document.sources.iter().map(|it| it.name.as_str()).collect();
    for source in &context.current.sources {
        if !desired.contains(source.name.as_str()) {
            planner.unlisted(&Target::Source(source.name.clone()));
        }
    }
    Ok(planner.plan)
}

impl Planner<'_> {
    fn source(&mut self, desired: &SourceDocument) -> Result<(), SecretError> {
        let current = self.index.sources.get(desired.name.as_str()).copied();
        let mut details = Vec::new();
        match current {
            Some(current) => {
                field_diff::differ(&mut details, "enabled", &current.enabled, &desired.enabled);
            }
            None if !desired.enabled => details.push("disabled".to_owned()),
            None => {}
        }
        if current.is_none_or(|current| current.enabled != desired.enabled) {
            self.plan.changes.push(PipelineChange::PutSource {
                source: desired.name.clone(),
                enabled: desired.enabled,
            });
        }
        self.write_key(desired, current, &mut details)?;
        self.changed_line(current.is_none(), format!("source {}", desired.name), details);
        for destination in &desired.destinations {
            self.destination(desired, current, destination)?;
        }
        let below = current.and_then(|it| self.index.below_source.get(&it.id)).cloned();
        let listed: HashSet<&str> = desired.destinations.iter().map(|it| &*it.name).collect();
        for destination in below.unwrap_or_default() {
            if !listed.contains(destination.name.as_str()) {
                let names = (desired.name.clone(), destination.name.clone());
                self.unlisted(&Target::Destination(names.0, names.1));
            }
        }
        Ok(())
    }

    fn write_key(
        &mut self,
        desired: &SourceDocument,
        current: Option<&Source>,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        let stored = current.and_then(|current| self.index.write_keys.get(&current.id));
        let key = match (value(desired.write_key.as_ref()), stored) {
            (Some(given), stored) => {
                if stored.is_some_and(|stored| stored.digest == digest(given.expose_secret())) {
                    return Ok(());
                }
                details.push(
                    if stored.is_some() { "write key: changed" } else { "write key: given" }
                        .to_owned(),
                );
                given.clone()
            }
            (None, Some(_)) => return Ok(()),
            (None, None) => {
                details.push("write key: generated, and shown once".to_owned());
                let key = generate("wk_")?;
                self.plan
                    .generated_write_keys
                    .push(GeneratedWriteKey { source: desired.name.clone(), key: key.clone() });
                key
            }
        };
        self.plan.changes.push(PipelineChange::PutWriteKey {
            source: desired.name.clone(),
            digest: digest(key.expose_secret()),
            sealed: self.context.keyring.seal(&key, Purpose::WriteKey, self.context.now.wall)?,
        });
        Ok(())
    }

    fn destination(
        &mut self,
        source: &SourceDocument,
        current_source: Option<&Source>,
        desired: &DestinationDocument,
    ) -> Result<(), SecretError> {
        let name = desired.name.as_str();
        let current =
            current_source.and_then(|it| self.index.destinations.get(&(it.id, name)).copied());
        let changes_secret = self.changes_shared_secret(current, desired)?;
        let settings = desired.settings_beside(current.map(|it| &it.settings), !changes_secret);
        let mut details = Vec::new();
        match current {
            Some(current) => field_diff::destination(&mut details, current, desired, &settings),
            None if !desired.enabled => details.push("disabled".to_owned()),
            None => {}
        }
        if current.is_none() || !details.is_empty() {
            self.plan.changes.push(PipelineChange::PutDestination {
                source: source.name.clone(),
                destination: desired.name.clone(),
                enabled: desired.enabled,
                settings: settings.clone(),
            });
        }
        self.shared_secret(source, current, desired, &mut details)?;
        let pair = DestinationPair { source, desired, current };
        self.credentials(pair, &mut details)?;
        self.check_origins(pair, &settings);
        let path = format!("{}/{}", source.name, desired.name);
        self.changed_line(current.is_none(), format!("destination {path}"), details);
        for mapping in &desired.mappings {
            self.mapping(source, desired, current, mapping);
        }
        let below = current.and_then(|it| self.index.below_destination.get(&it.id)).cloned();
        let listed: HashSet<&str> = desired.mappings.iter().map(|it| &*it.name).collect();
        for mapping in below.unwrap_or_default() {
            if !listed.contains(mapping.name.as_str()) {
                let (source, of) = (source.name.clone(), desired.name.clone());
                self.unlisted(&Target::Mapping(source, of, mapping.name.clone()));
            }
        }
        Ok(())
    }

    fn shared_secret(
        &mut self,
        source: &SourceDocument,
        current: Option<&Destination>,
        desired: &DestinationDocument,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        let stored = self.stored_secret(current);
        let given = value(desired.shared_secret.as_ref());
        let secret = match (given, stored) {
            (None, None) if is_kept(desired.shared_secret.as_ref()) => {
                let path = self.field_path(source, desired, "shared_secret");
                self.plan.missing.push(FieldError::new(path, NOTHING_KEPT));
                return Ok(());
            }
            (None, None) => return Ok(()),
            (None, Some(_)) if self.keeps(desired.shared_secret.as_ref()) => return Ok(()),
            (None, Some(_)) => {
                details.push("shared secret: removed".to_owned());
                None
            }
            (Some(given), stored) => {
                if let Some(stored) = stored {
                    let stored = self.context.keyring.open(stored, Purpose::SharedSecret)?;
                    if stored.expose_secret() == given.expose_secret() {
                        return Ok(());
                    }
                    let keeps = match desired.x_signature.unwrap_or_default() {
                        XSignatureKey::Previous => "and alone signs X-Signature until then",
                        XSignatureKey::Current => "and X-Signature is signed by the new one now",
                    };
                    details.push(format!(
                        "shared secret: changed; the old one signs as well until {}, {keeps}",
                        self.context.now.wall
                            + self.context.retire_at.since(self.context.now.service)
                    ));
                } else {
                    details.push("shared secret: given".to_owned());
                }
                Some(self.context.keyring.seal(
                    given,
                    Purpose::SharedSecret,
                    self.context.now.wall,
                )?)
            }
        };
        self.plan.changes.push(PipelineChange::PutSharedSecret {
            source: source.name.clone(),
            destination: desired.name.clone(),
            secret,
            retire_at: self.context.retire_at,
        });
        Ok(())
    }

    /// Whether another shared secret than the stored one is given.
    fn changes_shared_secret(
        &self,
        current: Option<&Destination>,
        desired: &DestinationDocument,
    ) -> Result<bool, SecretError> {
        let given = value(desired.shared_secret.as_ref());
        let (Some(given), Some(stored)) = (given, self.stored_secret(current)) else {
            return Ok(given.is_some());
        };
        let stored = self.context.keyring.open(stored, Purpose::SharedSecret)?;
        Ok(stored.expose_secret() != given.expose_secret())
    }

    /// The current secret.
    fn stored_secret(&self, current: Option<&Destination>) -> Option<&SealedSecret> {
        let id = current?.id;
        self.context
            .current
            .shared_secrets
            .iter()
            .find(|one| one.destination_id == id && one.secret.retires_at.is_none())
            .map(|one| &one.secret)
    }

    fn mapping(
        &mut self,
        source: &SourceDocument,
        destination: &DestinationDocument,
        current_destination: Option<&Destination>,
        desired: &MappingDocument,
    ) {
        let name = desired.name.as_str();
        let current =
            current_destination.and_then(|it| self.index.mappings.get(&(it.id, name)).copied());
        let definition = desired.definition();
        let mut details = Vec::new();
        match current {
            Some(current) => {
                field_diff::mapping(&mut details, current, desired.enabled, &definition)
            }
            None => {
                details.push(field_diff::route(&definition));
                if !desired.enabled {
                    details.push("disabled".to_owned());
                }
            }
        }
        let path = format!("{}/{}/{}", source.name, destination.name, desired.name);
        if current.is_none() || !details.is_empty() {
            self.plan.changes.push(PipelineChange::PutMapping {
                source: source.name.clone(),
                destination: destination.name.clone(),
                mapping: desired.name.clone(),
                enabled: desired.enabled,
                definition,
            });
        }
        self.changed_line(current.is_none(), format!("mapping {path}"), details);
    }
}
