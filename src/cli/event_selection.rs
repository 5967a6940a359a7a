//! Filters on events.

use super::failure::Failure;
use super::selection::{one_of, time};
use crate::domain::event::EventType;

/// Filters on events; all of them apply.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which events")]
pub(super) struct EventSelection {
    /// Of this source
    #[arg(long)]
    source: Option<String>,
    #[arg(
        long = "type",
        value_name = "TYPE",
        help = format!("Of this type: {}", one_of(&EventType::ALL.map(EventType::as_str)))
    )]
    event_type: Option<String>,
    /// With this name
    #[arg(long)]
    name: Option<String>,
    /// Of this user
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// Of this anonymous user
    #[arg(long, value_name = "ID")]
    anonymous_id: Option<String>,
    /// With this messageId
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// That match this trigger expression, such as 'properties.plan = "pro"'
    #[arg(long = "where", value_name = "EXPRESSION")]
    matching: Option<String>,
    /// Only rejected events, with the reason
    #[arg(long)]
    rejected: bool,
    /// Received since: a time such as 2026-03-01T12:00:00Z, or how long ago, such as 90m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Received before: a time, or how long ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl EventSelection {
    /// The filters as query parameters.
    pub(super) fn conditions(&self) -> Result<Vec<(&'static str, String)>, Failure> {
        let given = [
            ("source", self.source.clone()),
            ("type", self.event_type.clone()),
            ("name", self.name.clone()),
            ("user_id", self.user_id.clone()),
            ("anonymous_id", self.anonymous_id.clone()),
            ("message_id", self.message_id.clone()),
            ("where", self.matching.clone()),
            ("rejected", self.rejected.then(|| "true".to_owned())),
            ("since", time("--since", self.since.as_deref())?),
            ("until", time("--until", self.until.as_deref())?),
        ];
        Ok(given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }

    /// The source, where it is the only filter.
    pub(super) fn only_source(&self) -> Result<Option<String>, Failure> {
        let further = self.conditions()?.into_iter().find(|(name, _)| *name != "source");
        match further {
            Some((name, _)) => {
                let flag = name.replace('_', "-");
                Err(Failure::usage(format!("--{flag} does not go with --follow"))
                    .hint("of the filters, --follow takes --source"))
            }
            None => Ok(self.source.clone()),
        }
    }
}
