//! Revisions of a mapping: list, compare, roll back.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::filter::{self, Condition};
use super::page::Page;
use super::test_sends::Names;
use super::{Service, ServiceError};
use crate::domain::auth::{Admin, Caller};
use crate::domain::id::MappingId;
use crate::domain::json_diff::{OneSided, json_diff};
use crate::domain::mapping::{MappingDefinition, MappingRevision};
use crate::pipeline::{Change, Changed, Found, Guard, Target};

/// A revision of a mapping.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RevisionView {
    /// Its number, counted from 1 within the mapping.
    pub number: u32,
    /// When it was saved.
    pub created_at: String,
    /// The token that it was saved with.
    pub created_by: String,
    /// Whether it is the current revision.
    pub current: bool,
    /// Its definition.
    pub definition: MappingDefinition,
}

/// The difference between two revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevisionDiff {
    /// The first revision.
    pub from: u32,
    /// The second revision.
    pub to: u32,
    /// Each value that differs; empty when they are equal.
    pub changes: Vec<Difference>,
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// A JSON pointer (RFC 6901) into the definition.
    pub path: String,
    /// The value in the first revision; left out when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub from: Option<Value>,
    /// The value in the second revision; left out when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub to: Option<Value>,
}

/// The revision that a mapping is rolled back to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollBackBody {
    /// Its number.
    #[schema(minimum = 1)]
    pub revision: u32,
}

impl RevisionView {
    fn of(revision: &MappingRevision, current: u32) -> Self {
        Self {
            number: revision.number,
            created_at: revision.created_at.to_iso(),
            created_by: revision.created_by.clone(),
            current: revision.number == current,
            definition: revision.definition.clone(),
        }
    }
}

impl Service {
    /// A page of a mapping's revisions, newest first.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such mapping, or a condition is invalid.
    pub async fn revisions(
        &self,
        caller: &Caller,
        names: &Names,
        conditions: &[Condition],
    ) -> Result<Page<RevisionView>, ServiceError> {
        let (id, current) = self.mapping_now(caller, names).await?;
        let (before, limit) = filter::revisions(conditions)?;
        // One row beyond the limit shows whether there is a next page.
        let found = self.store.revisions(id, before, limit + 1).await?;
        let number = |it: &MappingRevision| i64::from(it.number);
        Ok(Page::numbered(found, limit, number, |it| RevisionView::of(it, current)))
    }

    /// One revision of a mapping.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none.
    pub async fn revision(
        &self,
        caller: &Caller,
        names: &Names,
        number: u32,
    ) -> Result<RevisionView, ServiceError> {
        let (id, current) = self.mapping_now(caller, names).await?;
        Ok(RevisionView::of(&self.find_revision(id, number).await?, current))
    }

    /// Compares two revisions of a mapping.
    ///
    /// # Errors
    /// [`ServiceError`] when one of them does not exist.
    pub async fn compare_revisions(
        &self,
        caller: &Caller,
        names: &Names,
        from: u32,
        to: u32,
    ) -> Result<RevisionDiff, ServiceError> {
        let (id, _) = self.mapping_now(caller, names).await?;
        let before = self.find_revision(id, from).await?;
        let after = self.find_revision(id, to).await?;
        Ok(RevisionDiff { from, to, changes: differences(&before.definition, &after.definition) })
    }

    /// Rolls a mapping back: a new revision with the definition of an older one.
    ///
    /// # Errors
    /// [`ServiceError`]; nothing is changed then. A definition that was valid when it was saved may be
    /// invalid now.
    pub async fn roll_back(
        &self,
        admin: &Admin,
        names: &Names,
        guard: &Guard,
        number: u32,
    ) -> Result<Changed, ServiceError> {
        let (id, _) = self.mapping_now(admin, names).await?;
        let revision = self.find_revision(id, number).await?;
        let change = Change::Say(Box::new(revision.definition));
        self.change(admin, &target(names), guard, change).await
    }

    async fn mapping_now(
        &self,
        caller: &Caller,
        names: &Names,
    ) -> Result<(MappingId, u32), ServiceError> {
        let target = target(names);
        match target.find(&self.pipeline(caller).await?) {
            Some(Found::Mapping(mapping)) => Ok((mapping.id, mapping.revision.number)),
            Some(Found::Source(_) | Found::Destination(_)) | None => {
                Err(ServiceError::Missing(target.to_string()))
            }
        }
    }

    async fn find_revision(
        &self,
        id: MappingId,
        number: u32,
    ) -> Result<MappingRevision, ServiceError> {
        let found = self.store.revisions(id, number.checked_add(1), 1).await?;
        let mut found = found.into_iter().filter(|it| it.number == number);
        found
            .next()
            .ok_or_else(|| ServiceError::Missing(format!("revision {number} of this mapping")))
    }
}

fn target((source, destination, mapping): &Names) -> Target {
    Target::Mapping(source.clone(), destination.clone(), mapping.clone())
}

fn differences(from: &MappingDefinition, to: &MappingDefinition) -> Vec<Difference> {
    let value = |it| serde_json::to_value(it).unwrap_or_default();
    let (from, to) = (value(from), value(to));
    let found = json_diff(Some(&from), Some(&to), OneSided::Whole);
    let step = |key: &String| format!("/{}", key.replace('~', "~0").replace('/', "~1"));
    let differences = found.into_iter().map(|it| Difference {
        path: it.path.iter().map(step).collect(),
        from: it.from.cloned(),
        to: it.to.cloned(),
    });
    differences.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_value_that_differs_is_reported_once() {
        let definition =
            |value: Value| -> MappingDefinition { serde_json::from_value(value).unwrap() };
        let before = definition(json!({
            "url": "https://a.test", "headers": {"A/B": "1", "C": "2"}, "data": {"x": [1, 2, 3]}
        }));
        let after = definition(json!({
            "url": "https://b.test", "headers": {"A/B": "3"}, "data": {"x": [1, 5], "y": null}
        }));
        let told: Vec<_> =
            differences(&before, &after).into_iter().map(|it| (it.path, it.from, it.to)).collect();
        let expected = [
            ("/url", Some(json!("https://a.test")), Some(json!("https://b.test"))),
            ("/headers/A~1B", Some(json!("1")), Some(json!("3"))),
            ("/headers/C", Some(json!("2")), None),
            ("/data/x/1", Some(json!(2)), Some(json!(5))),
            ("/data/x/2", Some(json!(3)), None),
            ("/data/y", None, Some(json!(null))),
        ];
        assert_eq!(told, expected.map(|(path, from, to)| (path.to_owned(), from, to)));
        assert_eq!(differences(&before, &before), []);
    }
}
