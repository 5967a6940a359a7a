//! The state of a delivery as one sentence.

use std::fmt;

use crate::domain::attempt::{Attempt, Outcome};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::delivery::{Delivery, State};
use crate::service::deliveries::DeliveryView;

/// A delivery with what its summary needs.
pub(super) struct DeliverySummary<'a> {
    pub(super) delivery: &'a Delivery,
    /// Its public id.
    pub(super) id: &'a str,
    pub(super) attempts: &'a [Attempt],
    /// The delivery whose success settled it.
    pub(super) settled_by: Option<DeliveryView>,
    /// Whether its mapping and destination are enabled; none when they were removed.
    pub(super) enabled: Option<bool>,
    /// Why the pending delivery is held by a pause, or by a mapping that cannot be compiled.
    pub(super) held: Option<String>,
    /// Until when the receiver asked for no request.
    pub(super) wait_until: Option<Timestamp>,
    pub(super) circuit_open: bool,
    pub(super) clock: &'a dyn Clock,
}

impl fmt::Display for DeliverySummary<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.delivery.state {
            State::Pending => self.pending(out),
            State::Leased => {
                self.tries(out)?;
                out.write_str("; leased: prefetched or in flight")
            }
            State::Delivered => self.delivered(out),
            State::Dead => self.dead(out),
            State::Discarded => {
                self.tries(out)?;
                if self.delivery.last_outcome == Some(Outcome::Dropped) {
                    return write!(out, "; its insert function dropped it{}", self.settled());
                }
                write!(out, "; discarded{}", self.settled())?;
                match self.enabled {
                    Some(_) => out.write_str(" by an operator"),
                    None => out.write_str(" by an operator, or because its mapping was removed"),
                }
            }
        }
    }
}

impl DeliverySummary<'_> {
    fn settled(&self) -> String {
        self.delivery.settled_at.map_or_else(String::new, |at| format!(" at {at}"))
    }

    fn tries(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = self.attempts.last() else { return out.write_str("not attempted yet") };
        let times = match self.attempts.len() {
            1 => "once".to_owned(),
            count => format!("{count} times"),
        };
        write!(out, "attempted {times}, last: {}", last.result.outcome.as_str())?;
        match (&last.result.error, last.result.status) {
            (Some(error), _) => write!(out, ", {error}"),
            (None, Some(status)) => write!(out, " ({status})"),
            (None, None) => Ok(()),
        }
    }

    fn delivered(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.settled_by {
            Some(by) => write!(
                out,
                "settled{} by {} of {}: the destination's policy is any",
                self.settled(),
                by.id,
                by.mapping.as_deref().unwrap_or("a removed mapping"),
            ),
            None => {
                self.tries(out)?;
                write!(out, "; its receiver accepted it{}", self.settled())
            }
        }
    }

    fn pending(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tries(out)?;
        match (self.enabled, self.delivery.due_at) {
            (None, _) => return out.write_str("; its mapping was removed: it will be discarded"),
            (Some(false), _) => {
                return out.write_str("; held while its mapping or destination is disabled");
            }
            (Some(true), _) if self.held.is_some() => {
                let why = self.held.as_deref().unwrap_or_default();
                return write!(out, "; held: {why}");
            }
            (Some(true), Some(at)) if at > self.clock.service_now() => {
                write!(out, "; next attempt at {}", self.clock.to_wall(at))?;
            }
            (Some(true), _) => out.write_str("; due now")?,
        }
        if self.circuit_open {
            out.write_str(", but the circuit is open: a half-open probe tests the receiver until one succeeds")?;
        }
        if let Some(until) = self.wait_until {
            write!(out, ", but the receiver asked for no request until {until}")?;
        }
        write!(out, "; deadline {}", self.clock.to_wall(self.delivery.deadline_at))
    }

    fn dead(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tries(out)?;
        let reason = self.delivery.reason.map_or("", |reason| reason.as_str());
        write!(out, "; a dead letter{}, reason {reason}", self.settled())?;
        write!(out, "; postrider redrive {} makes it due again", self.id)
    }
}
