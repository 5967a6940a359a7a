//! One change of one source, destination or mapping, with optimistic concurrency control by ETag.
//! It runs through the same validation and plan as a whole document.

use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::check_auth::header_faults;
use super::document::{DestinationDocument, Document, MappingDocument, SourceDocument};
use super::given_secret::{GivenSecret, Hidden};
use super::host_checks::HostChecks;
use super::plan::{Index, Plan, Unlisted};
use super::resource::{Found, Target, Written};
use super::turn::Turn;
use super::{Applied, ApplyError, Editor, FieldError, check};
use crate::domain::auth::{Admin, Forbidden};
use crate::domain::destination::XSignatureKey;
use crate::domain::mapping::MappingDefinition;
use crate::domain::unquoted::unquoted;
use crate::settings::secrets::{generate, generate_shared_secret};
use crate::store::{Pipeline, StoreError};

/// The change.
#[derive(Clone, Debug)]
pub enum Change {
    /// Replace it; secrets that are left out are removed.
    Put(Value),
    /// Apply a JSON merge patch (RFC 7396).
    Patch(Value),
    /// Set the definition of a mapping.
    Say(Box<MappingDefinition>),
    /// Remove it with everything below it.
    Remove,
    /// Rotate a source's write key, or a destination's shared secret with this key of `X-Signature`
    /// while the previous one is active.
    Rotate(XSignatureKey),
}

/// The precondition of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// It must not exist.
    New,
    /// It must exist.
    Present,
    /// It must exist with one of these ETags.
    Tagged(Vec<String>),
}

/// The result of a change.
#[derive(Debug)]
pub struct Changed {
    /// The diff.
    pub applied: Applied,
    /// The generated secret, to be shown once.
    pub secret: Option<SecretString>,
    /// What was changed, by its name now.
    pub target: Target,
}

/// An attempt of a change.
struct Attempt<'a> {
    admin: &'a Admin,
    target: &'a Target,
    guard: &'a Guard,
    turn: &'a Turn<'a>,
}

/// What is written, as the pipeline has it.
pub(super) struct Subject<'a> {
    pub(super) target: &'a Target,
    pub(super) found: Option<Found<'a>>,
    pub(super) current: &'a Pipeline,
}

impl Editor {
    /// Applies one change and activates it before it returns.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing is changed then. Paths of errors are relative to the target.
    pub async fn change(
        &self,
        admin: &Admin,
        target: &Target,
        guard: &Guard,
        change: &Change,
    ) -> Result<Changed, ApplyError> {
        check_scope(admin, target)?;
        let (mut turn, mut hosts) = (self.turns.next(), HostChecks::default());
        loop {
            let attempt = Attempt { admin, target, guard, turn: &turn };
            match self.try_change(attempt, change, &mut hosts).await {
                Err(ApplyError::Store(StoreError::Conflict)) if turn.wait().await => {}
                other => return other,
            }
        }
    }

    /// What removing a resource would end; nothing is changed.
    ///
    /// # Errors
    /// [`ApplyError`], as for the removal.
    pub async fn preview_removal(
        &self,
        admin: &Admin,
        target: &Target,
        guard: &Guard,
    ) -> Result<Applied, ApplyError> {
        check_scope(admin, target)?;
        let current = self.store.pipeline().await?;
        admit(target, guard, &current)?;
        self.preview(&current, removal(target, &current)).await
    }

    async fn try_change(
        &self,
        attempt: Attempt<'_>,
        change: &Change,
        hosts: &mut HostChecks,
    ) -> Result<Changed, ApplyError> {
        let Attempt { admin, target, guard, turn } = attempt;
        let current = self.store.pipeline().await?;
        hosts.know(&current);
        let found = admit(target, guard, &current)?;
        let (written, made) = match change {
            Change::Remove => {
                let plan = removal(target, &current);
                let applied = self.make(admin, &current, plan, turn).await?;
                return Ok(Changed { applied, secret: None, target: target.clone() });
            }
            Change::Put(value) => (read(target, value.clone())?, None),
            Change::Patch(patch) => (patched(target, found, patch, &current)?, None),
            Change::Say(definition) => (says(found, definition)?, None),
            Change::Rotate(x_signature) => rotated(found, &current, *x_signature)?,
        };
        let (target, written) = renamed(admin, target, written, &current)?;
        let subject = Subject { target: &target, found, current: &current };
        let document = self.judged(subject, written, hosts).await?;
        let plan = self.plan(&current, &document, Unlisted::RemoveSecrets);
        let plan = plan.map_err(|error| from_here(&target, error))?;
        let applied = self.make(admin, &current, plan, turn).await?;
        let written = applied.write_keys.first().map(|made| made.write_key.clone());
        Ok(Changed { applied, secret: made.or_else(|| written.map(SecretString::from)), target })
    }

    /// Validates a resource and returns it as a document.
    pub(super) async fn judged(
        &self,
        Subject { target, found, current }: Subject<'_>,
        written: Written,
        hosts: &mut HostChecks,
    ) -> Result<Document, ApplyError> {
        let faults = self.faults_beside(target, &written, found, current);
        if !faults.is_empty() {
            return Err(ApplyError::Invalid(faults));
        }
        let document = written.into_document(target, current);
        let document = document.ok_or_else(|| ApplyError::Missing(target.to_string()))?;
        let faults = self.faults_of(target, &document, hosts).await;
        if faults.is_empty() { Ok(document) } else { Err(ApplyError::Invalid(faults)) }
    }

    /// The errors of the target itself; its parents are not validated again.
    async fn faults_of(
        &self,
        target: &Target,
        document: &Document,
        hosts: &mut HostChecks,
    ) -> Vec<FieldError> {
        let faults = check::check(document, &self.settings, &*self.preflight, hosts).await;
        let own = faults.into_iter().filter_map(|fault| {
            let path = fault.path.strip_prefix(target.document_path())?;
            Some(FieldError::new(path, fault.message))
        });
        own.collect()
    }

    /// The conflicts of the target with the rest of the pipeline.
    fn faults_beside(
        &self,
        target: &Target,
        written: &Written,
        found: Option<Found<'_>>,
        pipeline: &Pipeline,
    ) -> Vec<FieldError> {
        match (written, found) {
            (Written::Destination(destination), Some(Found::Destination(current))) => {
                let below = pipeline.mappings.iter();
                let below = below.filter(|it| it.destination_id == current.id);
                let faults = below.flat_map(|mapping| {
                    let faults = header_faults(destination, &MappingDocument::of(mapping));
                    faults.into_iter().map(|(header, message)| {
                        let path = format!("mappings.{}.headers.{header}", mapping.name);
                        FieldError::new(path, message)
                    })
                });
                faults.collect()
            }
            (Written::Mapping(_), None) => {
                let Some(Found::Destination(parent)) =
                    target.parent().and_then(|parent| parent.find(pipeline))
                else {
                    return Vec::new();
                };
                let limit = self.settings.mappings_per_destination as usize;
                let count = pipeline.mappings.iter().filter(|it| it.destination_id == parent.id);
                if count.count() < limit {
                    return Vec::new();
                }
                let message = format!(
                    "the destination has {limit} mappings already (mappings_per_destination)"
                );
                vec![FieldError::new("name", message)]
            }
            (Written::Source(_) | Written::Destination(_) | Written::Mapping(_), _) => Vec::new(),
        }
    }
}

/// Checks the precondition and returns the stored resource.
fn admit<'p>(
    target: &Target,
    guard: &Guard,
    current: &'p Pipeline,
) -> Result<Option<Found<'p>>, ApplyError> {
    if let Some(parent) = target.parent()
        && parent.find(current).is_none()
    {
        return Err(ApplyError::Missing(parent.to_string()));
    }
    match (guard, target.find(current)) {
        (Guard::New, None) => Ok(None),
        (Guard::New, Some(_)) => Err(ApplyError::Taken(target.to_string())),
        (Guard::Present | Guard::Tagged(_), None) => Err(ApplyError::Missing(target.to_string())),
        (Guard::Present, Some(found)) => Ok(Some(found)),
        (Guard::Tagged(tags), Some(found)) => {
            if tags.contains(&found.tag(current)) {
                return Ok(Some(found));
            }
            Err(ApplyError::Stale(target.to_string()))
        }
    }
}

fn removal(target: &Target, current: &Pipeline) -> Plan {
    let mut plan = Plan::default();
    plan.remove(target, &Index::of(current));
    plan
}

fn check_scope(admin: &Admin, target: &Target) -> Result<(), Forbidden> {
    match target {
        Target::Source(_) => admin.reaches_everything(),
        Target::Destination(source, destination) | Target::Mapping(source, destination, _) => {
            admin.check_scope(source, destination)
        }
    }
}

/// The target by the name that was written, which is a new one where it differs from the path's.
fn renamed(
    admin: &Admin,
    target: &Target,
    written: Written,
    current: &Pipeline,
) -> Result<(Target, Written), ApplyError> {
    if written.name() == target.name() {
        return Ok((target.clone(), written));
    }
    let to = target.renamed(written.name());
    check_scope(admin, &to)?;
    if to.find(current).is_some() {
        return Err(ApplyError::Taken(to.to_string()));
    }
    Ok((to, written.renamed_from(target.name())))
}

/// Makes the paths of errors relative to the target.
fn from_here(target: &Target, error: ApplyError) -> ApplyError {
    let ApplyError::Invalid(faults) = error else { return error };
    let own = faults.into_iter().map(|fault| {
        let path = fault.path.strip_prefix(target.document_path()).unwrap_or(&fault.path);
        FieldError::new(path, fault.message)
    });
    ApplyError::Invalid(own.collect())
}

/// Parses a resource: an object whose `name` may be left out, as the path has it.
pub(super) fn read(target: &Target, value: Value) -> Result<Written, ApplyError> {
    let wrong = |path: &str, message: &str| {
        Err(ApplyError::Invalid(vec![FieldError::new(path, message.to_owned())]))
    };
    let Value::Object(mut fields) = value else {
        return wrong("", "should be an object");
    };
    if !fields.contains_key("name") {
        fields.insert("name".to_owned(), target.name().into());
    }
    if fields.contains_key("renamed_from") {
        return wrong("renamed_from", "belongs to a pipeline document: here, change the name");
    }
    for (field, path) in [("destinations", "/destinations"), ("mappings", "/mappings")] {
        if fields.contains_key(field) {
            return wrong(field, &format!("have their own paths, under {path}"));
        }
    }
    Ok(match target {
        Target::Source(_) => Written::Source(parse::<SourceDocument>(fields)?),
        Target::Destination(..) => Written::Destination(parse::<DestinationDocument>(fields)?),
        Target::Mapping(..) => Written::Mapping(parse::<MappingDocument>(fields)?),
    })
}

fn parse<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, ApplyError> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        ApplyError::Invalid(vec![FieldError::new(path, unquoted(&error.into_inner().to_string()))])
    })
}

fn patched(
    target: &Target,
    found: Option<Found<'_>>,
    patch: &Value,
    pipeline: &Pipeline,
) -> Result<Written, ApplyError> {
    let found = found.ok_or_else(|| ApplyError::Missing(target.to_string()))?;
    let mut value = match Written::of(found, pipeline) {
        Written::Source(source) => serde_json::to_value(source),
        Written::Destination(destination) => serde_json::to_value(destination),
        Written::Mapping(mapping) => serde_json::to_value(mapping),
    }
    .unwrap_or_default();
    if !patch.is_object() {
        let fault = FieldError::new("", "should be an object: a JSON merge patch");
        return Err(ApplyError::Invalid(vec![fault]));
    }
    merge(&mut value, patch);
    read(target, value)
}

/// RFC 7396, 2.
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(fields) = value else { return };
    for (name, patch) in patch {
        if patch.is_null() {
            fields.shift_remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), patch);
        }
    }
}

fn says(found: Option<Found<'_>>, definition: &MappingDefinition) -> Result<Written, ApplyError> {
    match found {
        Some(Found::Mapping(mapping)) => Ok(Written::Mapping(MappingDocument::with_definition(
            &mapping.name,
            mapping.enabled,
            definition,
        ))),
        Some(Found::Source(_) | Found::Destination(_)) | None => {
            Err(ApplyError::Missing("mapping".to_owned()))
        }
    }
}

fn rotated(
    found: Option<Found<'_>>,
    pipeline: &Pipeline,
    x_signature: XSignatureKey,
) -> Result<(Written, Option<SecretString>), ApplyError> {
    let given = |secret: &SecretString| {
        let text = secret.expose_secret().to_owned();
        Some(GivenSecret::Value(Hidden(SecretString::from(text))))
    };
    match found {
        Some(Found::Source(source)) => {
            let key = generate("wk_")?;
            let written = SourceDocument { write_key: given(&key), ..SourceDocument::of(source) };
            Ok((Written::Source(written), Some(key)))
        }
        Some(Found::Destination(destination)) => {
            let secret = generate_shared_secret()?;
            let written = DestinationDocument {
                shared_secret: given(&secret),
                x_signature: Some(x_signature),
                ..DestinationDocument::of(destination, pipeline)
            };
            Ok((Written::Destination(written), Some(secret)))
        }
        Some(Found::Mapping(_)) | None => Err(ApplyError::Missing("secret to rotate".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_patch_follows_rfc_7396() {
        // Appendix A of the RFC, without the cases whose document is not an object.
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut value, patch, expected) in cases {
            merge(&mut value, &patch);
            assert_eq!(value, expected, "{patch}");
        }
    }
}
