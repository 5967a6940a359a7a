//! Revisions of a mapping: listed, compared, and said again.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::deliveries::Page;
use super::filter::{self, Condition};
use super::test_sends::Names;
use super::{Refusal, Service};
use crate::domain::auth::{Admin, Caller};
use crate::domain::id::MappingId;
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
    /// Whether it is in force.
    pub current: bool,
    /// What it says.
    pub definition: MappingDefinition,
}

/// What differs between two revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevisionDiff {
    /// The one before.
    pub from: u32,
    /// The one after.
    pub to: u32,
    /// Each place where they differ; none when they say the same.
    pub changes: Vec<Difference>,
}

/// A place where two revisions differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// Where: a JSON pointer (RFC 6901) into the definition.
    pub path: String,
    /// What stood there before; left out when nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub from: Option<Value>,
    /// What stands there after; left out when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub to: Option<Value>,
}

/// Which revision a mapping goes back to.
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
    /// [`Refusal`] when there is no such mapping, or a condition is not right.
    pub async fn revisions(
        &self,
        caller: &Caller,
        names: &Names,
        conditions: &[Condition],
    ) -> Result<Page<RevisionView>, Refusal> {
        let (id, current) = self.mapping_now(caller, names).await?;
        let (before, limit) = filter::revisions(conditions)?;
        // One more than asked for tells whether there is a next page.
        let mut found = self.store.revisions(id, before, limit + 1).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(|last| last.number.to_string());
        let items = found.iter().map(|it| RevisionView::of(it, current)).collect();
        Ok(Page { items, next, looked_to: None })
    }

    /// One revision of a mapping.
    ///
    /// # Errors
    /// [`Refusal`] when there is none.
    pub async fn revision(
        &self,
        caller: &Caller,
        names: &Names,
        number: u32,
    ) -> Result<RevisionView, Refusal> {
        let (id, current) = self.mapping_now(caller, names).await?;
        Ok(RevisionView::of(&self.find_revision(id, number).await?, current))
    }

    /// What differs between two revisions of a mapping.
    ///
    /// # Errors
    /// [`Refusal`] when one of them is not there.
    pub async fn compare_revisions(
        &self,
        caller: &Caller,
        names: &Names,
        from: u32,
        to: u32,
    ) -> Result<RevisionDiff, Refusal> {
        let (id, _) = self.mapping_now(caller, names).await?;
        let before = self.find_revision(id, from).await?;
        let after = self.find_revision(id, to).await?;
        Ok(RevisionDiff { from, to, changes: differences(&before.definition, &after.definition) })
    }

    /// Makes a new revision that says what an older one said.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is changed then. What was right when it was saved may not be any more.
    pub async fn roll_back(
        &self,
        admin: &Admin,
        names: &Names,
        guard: &Guard,
        number: u32,
    ) -> Result<Changed, Refusal> {
        let (id, _) = self.mapping_now(admin, names).await?;
        let revision = self.find_revision(id, number).await?;
        let change = Change::Say(Box::new(revision.definition));
        self.change(admin, &target(names), guard, change).await
    }

    async fn mapping_now(
        &self,
        caller: &Caller,
        names: &Names,
    ) -> Result<(MappingId, u32), Refusal> {
        let target = target(names);
        match target.find(&self.pipeline(caller).await?) {
            Some(Found::Mapping(mapping)) => Ok((mapping.id, mapping.revision.number)),
            Some(Found::Source(_) | Found::Destination(_)) | None => {
                Err(Refusal::Missing(target.to_string()))
            }
        }
    }

    async fn find_revision(&self, id: MappingId, number: u32) -> Result<MappingRevision, Refusal> {
        let found = self.store.revisions(id, number.checked_add(1), 1).await?;
        let mut found = found.into_iter().filter(|it| it.number == number);
        found.next().ok_or_else(|| Refusal::Missing(format!("revision {number} of this mapping")))
    }
}

fn target((source, destination, mapping): &Names) -> Target {
    Target::Mapping(source.clone(), destination.clone(), mapping.clone())
}

fn differences(before: &MappingDefinition, after: &MappingDefinition) -> Vec<Difference> {
    let value = |it| serde_json::to_value(it).unwrap_or_default();
    let mut differences = Vec::new();
    compare(&mut differences, String::new(), Some(&value(before)), Some(&value(after)));
    differences
}

fn compare(found: &mut Vec<Difference>, path: String, from: Option<&Value>, to: Option<&Value>) {
    match (from, to) {
        (Some(from), Some(to)) if from == to => {}
        (Some(Value::Object(from)), Some(Value::Object(to))) => {
            let added = to.keys().filter(|key| !from.contains_key(*key));
            for key in from.keys().chain(added) {
                let step = key.replace('~', "~0").replace('/', "~1");
                compare(found, format!("{path}/{step}"), from.get(key), to.get(key));
            }
        }
        (Some(Value::Array(from)), Some(Value::Array(to))) => {
            for index in 0..from.len().max(to.len()) {
                compare(found, format!("{path}/{index}"), from.get(index), to.get(index));
            }
        }
        (from, to) => found.push(Difference { path, from: from.cloned(), to: to.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_place_that_differs_is_told_once() {
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
