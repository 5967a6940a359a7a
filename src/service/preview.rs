//! Previews: the request that an unsaved mapping would send for an event. Nothing is saved and
//! nothing is sent; its insert function runs.

use serde_json::Value;

use super::explain::UnmetView;
use super::test_sends::{TestBody, TestView, choose};
use super::{Service, ServiceError};
use crate::domain::auth::Operator;
use crate::json;
use crate::pipeline::{Found, Target};
use crate::trigger::Trigger;

/// The preview of a mapping for an event.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The event as mappings see it, as JSON.
    pub event: String,
    /// The condition that the event does not meet; none when the trigger matches.
    pub unmet: Option<UnmetView>,
    /// The request, or why there is none.
    pub test: TestView,
}

impl Service {
    /// Previews an unsaved mapping.
    ///
    /// # Errors
    /// [`ServiceError`], with each error of the mapping, or when there is no such event.
    pub async fn preview(
        &self,
        operator: &Operator,
        target: &Target,
        document: Value,
        on: &TestBody,
    ) -> Result<Preview, ServiceError> {
        let Target::Mapping(source, destination, _) = target else {
            return Err(ServiceError::Missing("mapping to preview".to_owned()));
        };
        operator.check_scope(source, destination)?;
        let draft = self.editor.draft(target, document).await?;
        let source = Target::Source(source.clone());
        let Some(Found::Source(source)) = source.find(&draft.pipeline) else {
            return Err(ServiceError::Missing(source.to_string()));
        };
        let chosen = choose(self, operator, source.id, on).await?;
        let tried = self.node.preview_mapping(&draft.pipeline, draft.id, &chosen.event).await;
        let tested = tried.ok_or_else(|| {
            ServiceError::Conflict("this version cannot run the mapping".to_owned())
        })?;
        let event = chosen.event.document();
        let event = event.map_err(|error| ServiceError::at("document", error.to_string()))?;
        Ok(Preview {
            event: String::from_utf8_lossy(event).into_owned(),
            unmet: unmet(&draft.definition.trigger, event),
            test: TestView::of(&chosen, &tested, false),
        })
    }
}

fn unmet(trigger: &str, event: &[u8]) -> Option<UnmetView> {
    let event = json::parse(event).ok()?;
    let unmet = Trigger::parse(trigger).ok()?.unmet(&event)?;
    let (path, found) = unmet.field.map_or((None, None), |field| (Some(field.path), field.value));
    Some(UnmetView { condition: unmet.condition, path, found })
}

/// The position of the syntax error in a trigger, in characters from 0; none when it parses.
#[must_use]
pub fn trigger_breaks_at(trigger: &str) -> Option<usize> {
    Trigger::parse(trigger).err().map(|error| error.position)
}
