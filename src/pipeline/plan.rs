//! The difference between the pipeline that is and the one that is wanted: the changes to make, in
//! an order in which they can be made, and a line for each. Pure but for the nonces of new secrets.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Fault;
use super::credentials::Pair;
use super::document::{
    DestinationDocument, Document, GivenSecret, MappingDocument, SourceDocument,
};
use super::field_diff;
use crate::domain::clock::Timestamp;
use crate::domain::destination::Destination;
use crate::domain::mapping::Mapping;
use crate::domain::source::Source;
use crate::settings::secrets::{Keyring, Purpose, SecretError, digest, generate};
use crate::store::{Pipeline, PipelineChange, SealedSecret};

/// What a line of the difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// Made.
    Add,
    /// Changed.
    Change,
    /// Removed.
    Remove,
    /// Not in the document, and left alone.
    Keep,
}

impl Sign {
    /// The mark in front of the line.
    #[must_use]
    pub const fn mark(self) -> char {
        match self {
            Self::Add => '+',
            Self::Change => '~',
            Self::Remove => '-',
            Self::Keep => '=',
        }
    }
}

/// One line of the difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DifferenceLine)]
pub struct Line {
    /// What is done.
    pub sign: Sign,
    /// To what: `mapping website/warehouse/everything`.
    pub what: String,
    /// The fields that differ; never a secret's value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// A write key that is made by applying, shown this once.
#[derive(Debug)]
pub(super) struct MadeKey {
    pub(super) source: String,
    pub(super) key: SecretString,
}

/// The difference.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<PipelineChange>,
    pub(super) lines: Vec<Line>,
    pub(super) made_keys: Vec<MadeKey>,
    /// Secrets that the document leaves out and nothing is kept for.
    pub(super) missing: Vec<Fault>,
}

/// What becomes of what is not in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// It stays.
    Kept,
    /// Secrets of what is in the document go; what is not in it stays.
    SecretsGo,
    /// It goes.
    Goes,
}

/// What the difference is taken with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) current: &'a Pipeline,
    pub(super) keyring: &'a Keyring,
    /// What becomes of what is not in the document.
    pub(super) absent: Absent,
    pub(super) now: Timestamp,
    /// When a shared secret that is replaced now stops signing.
    pub(super) retire_at: Timestamp,
}

/// Takes the difference.
pub(super) fn plan(terms: Terms<'_>, document: &Document) -> Result<Plan, SecretError> {
    let mut planning = Planning { terms, document, plan: Plan::default() };
    for source in &document.sources {
        planning.source(source)?;
    }
    let wanted: Vec<&str> = document.sources.iter().map(|source| source.name.as_str()).collect();
    for source in &terms.current.sources {
        if !wanted.contains(&source.name.as_str()) {
            let removal = PipelineChange::RemoveSource { source: source.name.clone() };
            planning.absent(format!("source {}", source.name), removal);
        }
    }
    Ok(planning.plan)
}

pub(super) struct Planning<'a> {
    pub(super) terms: Terms<'a>,
    pub(super) document: &'a Document,
    pub(super) plan: Plan,
}

impl Planning<'_> {
    fn line(&mut self, sign: Sign, what: String, details: Vec<String>) {
        self.plan.lines.push(Line { sign, what, details });
    }

    /// What is there and not in the document.
    fn absent(&mut self, what: String, removal: PipelineChange) {
        match self.terms.absent {
            Absent::Goes => {
                self.plan.changes.push(removal);
                self.line(Sign::Remove, what, Vec::new());
            }
            Absent::Kept => self.line(Sign::Keep, what, Vec::new()),
            Absent::SecretsGo => {}
        }
    }

    fn source(&mut self, wanted: &SourceDocument) -> Result<(), SecretError> {
        let current = self.terms.current.sources.iter().find(|one| one.name == wanted.name);
        let mut details = Vec::new();
        match current {
            Some(current) => {
                field_diff::differ(&mut details, "enabled", &current.enabled, &wanted.enabled);
            }
            None if !wanted.enabled => details.push("disabled".to_owned()),
            None => {}
        }
        if current.is_none_or(|current| current.enabled != wanted.enabled) {
            self.plan.changes.push(PipelineChange::PutSource {
                source: wanted.name.clone(),
                enabled: wanted.enabled,
            });
        }
        self.write_key(wanted, current, &mut details)?;
        self.told(current.is_none(), format!("source {}", wanted.name), details);
        for destination in &wanted.destinations {
            self.destination(wanted, current, destination)?;
        }
        let below = self
            .terms
            .current
            .destinations
            .iter()
            .filter(|one| current.is_some_and(|current| one.source_id == current.id));
        for destination in below {
            if !wanted.destinations.iter().any(|one| one.name == destination.name) {
                let removal = PipelineChange::RemoveDestination {
                    source: wanted.name.clone(),
                    destination: destination.name.clone(),
                };
                let what = format!("destination {}/{}", wanted.name, destination.name);
                self.absent(what, removal);
            }
        }
        Ok(())
    }

    /// Whether a secret that is not given stays what it is.
    pub(super) fn keeps(&self, given: Option<&GivenSecret>) -> bool {
        is_kept(given) || self.terms.absent == Absent::Kept
    }

    /// The path of a destination's field in the document.
    pub(super) fn place(
        &self,
        source: &SourceDocument,
        destination: &DestinationDocument,
        field: &str,
    ) -> String {
        let at = self.document.sources.iter().position(|one| one.name == source.name);
        let below = source.destinations.iter().position(|one| one.name == destination.name);
        let (at, below) = (at.unwrap_or_default(), below.unwrap_or_default());
        format!("sources[{at}].destinations[{below}].{field}")
    }

    fn told(&mut self, is_new: bool, what: String, details: Vec<String>) {
        if is_new {
            self.line(Sign::Add, what, details);
        } else if !details.is_empty() {
            self.line(Sign::Change, what, details);
        }
    }

    fn write_key(
        &mut self,
        wanted: &SourceDocument,
        current: Option<&Source>,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        let held = self
            .terms
            .current
            .write_keys
            .iter()
            .find(|key| current.is_some_and(|current| key.source_id == current.id));
        let key = match (value(wanted.write_key.as_ref()), held) {
            (Some(given), held) => {
                if held.is_some_and(|held| held.digest == digest(given.expose_secret())) {
                    return Ok(());
                }
                details.push(
                    if held.is_some() { "write key: changed" } else { "write key: given" }
                        .to_owned(),
                );
                given.clone()
            }
            (None, Some(_)) => return Ok(()),
            (None, None) => {
                details.push("write key: made, and shown once".to_owned());
                let key = generate("wk_")?;
                self.plan.made_keys.push(MadeKey { source: wanted.name.clone(), key: key.clone() });
                key
            }
        };
        self.plan.changes.push(PipelineChange::PutWriteKey {
            source: wanted.name.clone(),
            digest: digest(key.expose_secret()),
            sealed: self.terms.keyring.seal(&key, Purpose::WriteKey, self.terms.now)?,
        });
        Ok(())
    }

    fn destination(
        &mut self,
        source: &SourceDocument,
        current_source: Option<&Source>,
        wanted: &DestinationDocument,
    ) -> Result<(), SecretError> {
        let current = self.terms.current.destinations.iter().find(|one| {
            one.name == wanted.name
                && current_source.is_some_and(|source| one.source_id == source.id)
        });
        let mut details = Vec::new();
        match current {
            Some(current) => field_diff::destination(&mut details, current, wanted),
            None if !wanted.enabled => details.push("disabled".to_owned()),
            None => {}
        }
        if current.is_none() || !details.is_empty() {
            self.plan.changes.push(PipelineChange::PutDestination {
                source: source.name.clone(),
                destination: wanted.name.clone(),
                enabled: wanted.enabled,
                settings: wanted.settings(),
            });
        }
        self.shared_secret(source, current, wanted, &mut details)?;
        self.credentials(Pair { source, wanted, current }, &mut details)?;
        let path = format!("{}/{}", source.name, wanted.name);
        self.told(current.is_none(), format!("destination {path}"), details);
        for mapping in &wanted.mappings {
            self.mapping(source, wanted, current, mapping);
        }
        let below = self
            .terms
            .current
            .mappings
            .iter()
            .filter(|one| current.is_some_and(|current| one.destination_id == current.id));
        for mapping in below {
            if !wanted.mappings.iter().any(|one| one.name == mapping.name) {
                let removal = PipelineChange::RemoveMapping {
                    source: source.name.clone(),
                    destination: wanted.name.clone(),
                    mapping: mapping.name.clone(),
                };
                self.absent(format!("mapping {path}/{}", mapping.name), removal);
            }
        }
        Ok(())
    }

    fn shared_secret(
        &mut self,
        source: &SourceDocument,
        current: Option<&Destination>,
        wanted: &DestinationDocument,
        details: &mut Vec<String>,
    ) -> Result<(), SecretError> {
        let held = self.held_secret(current);
        let given = value(wanted.shared_secret.as_ref());
        let secret = match (given, held) {
            (None, None) if is_kept(wanted.shared_secret.as_ref()) => {
                let path = self.place(source, wanted, "shared_secret");
                self.plan.missing.push(Fault::new(path, NOTHING_KEPT));
                return Ok(());
            }
            (None, None) => return Ok(()),
            (None, Some(_)) if self.keeps(wanted.shared_secret.as_ref()) => return Ok(()),
            (None, Some(_)) => {
                details.push("shared secret: removed".to_owned());
                None
            }
            (Some(given), held) => {
                if let Some(held) = held {
                    let held = self.terms.keyring.open(held, Purpose::SharedSecret)?;
                    if held.expose_secret() == given.expose_secret() {
                        return Ok(());
                    }
                    details.push(format!(
                        "shared secret: changed; the one before signs as well until {}",
                        self.terms.retire_at
                    ));
                } else {
                    details.push("shared secret: given".to_owned());
                }
                Some(self.terms.keyring.seal(given, Purpose::SharedSecret, self.terms.now)?)
            }
        };
        self.plan.changes.push(PipelineChange::PutSharedSecret {
            source: source.name.clone(),
            destination: wanted.name.clone(),
            secret,
            retire_at: self.terms.retire_at,
        });
        Ok(())
    }

    /// The secret now in force.
    fn held_secret(&self, current: Option<&Destination>) -> Option<&SealedSecret> {
        let id = current?.id;
        self.terms
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
        wanted: &MappingDocument,
    ) {
        let current: Option<&Mapping> = self.terms.current.mappings.iter().find(|one| {
            one.name == wanted.name
                && current_destination
                    .is_some_and(|destination| one.destination_id == destination.id)
        });
        let definition = wanted.definition();
        let mut details = Vec::new();
        match current {
            Some(current) => {
                field_diff::mapping(&mut details, current, wanted.enabled, &definition)
            }
            None => {
                details.push(field_diff::route(&definition));
                if !wanted.enabled {
                    details.push("disabled".to_owned());
                }
            }
        }
        let path = format!("{}/{}/{}", source.name, destination.name, wanted.name);
        if current.is_none() || !details.is_empty() {
            self.plan.changes.push(PipelineChange::PutMapping {
                source: source.name.clone(),
                destination: destination.name.clone(),
                mapping: wanted.name.clone(),
                enabled: wanted.enabled,
                definition,
            });
        }
        self.told(current.is_none(), format!("mapping {path}"), details);
    }
}

/// What is said of a secret that should stay and is not there.
pub(super) const NOTHING_KEPT: &str = "there is none to be kept";

pub(super) fn is_kept(given: Option<&GivenSecret>) -> bool {
    matches!(given, Some(GivenSecret::Kept))
}

pub(super) fn value(given: Option<&GivenSecret>) -> Option<&SecretString> {
    match given? {
        GivenSecret::Value(hidden) => Some(&hidden.0),
        // The check refuses these before a plan is made.
        GivenSecret::Env(_) | GivenSecret::File(_) => None,
        GivenSecret::Kept => None,
    }
}
