//! The report of a bench: figures with units and goals, printed as a table or as JSON.

use serde::Serialize;

use super::measurement::{Account, Measurement, quotient, to_f64};
use super::scenario::Scenario;
use crate::cli::output::{Output, Table};

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    Count,
    PerSecond,
    Microseconds,
    Milliseconds,
    Bytes,
    Megabytes,
    Percent,
    /// One figure over another of the same kind.
    Ratio,
}

impl Unit {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Count | Self::Ratio => "",
            Self::PerSecond => "/s",
            Self::Microseconds => " µs",
            Self::Milliseconds => " ms",
            Self::Bytes => " B",
            Self::Megabytes => " MB",
            Self::Percent => " %",
        }
    }

    fn shown(self, value: f64) -> String {
        let decimals = match self {
            Self::Count | Self::PerSecond | Self::Bytes => 0,
            Self::Microseconds | Self::Megabytes => 1,
            Self::Milliseconds | Self::Percent | Self::Ratio => 2,
        };
        format!("{value:.decimals$}{}", self.suffix())
    }
}

/// The goal of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn shown(self, unit: Unit) -> String {
        match self {
            Self::AtLeast(bound) => format!("≥ {}", unit.shown(bound)),
            Self::AtMost(bound) => format!("≤ {}", unit.shown(bound)),
        }
    }
}

/// One measured value.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    pub(super) what: String,
    pub(super) unit: Unit,
    pub(super) value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) goal: Option<Goal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reached: Option<bool>,
}

/// The result of one scenario.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ScenarioReport {
    pub(super) scenario: Scenario,
    pub(super) figures: Vec<Figure>,
    /// Counts of events and deliveries.
    pub(super) account: Account,
}

impl ScenarioReport {
    pub(super) const fn of(scenario: Scenario, account: Account) -> Self {
        Self { scenario, figures: Vec::new(), account }
    }

    /// A figure without a goal.
    pub(super) fn figure(&mut self, what: impl Into<String>, unit: Unit, value: f64) {
        self.figures.push(Figure { what: what.into(), unit, value, goal: None, reached: None });
    }

    /// A figure with a goal.
    pub(super) fn with_goal(
        &mut self,
        what: impl Into<String>,
        unit: Unit,
        value: f64,
        goal: Goal,
    ) {
        let (goal, reached) = (Some(goal), Some(goal.is_reached(value)));
        self.figures.push(Figure { what: what.into(), unit, value, goal, reached });
    }

    /// A time, with or without a goal in milliseconds.
    pub(super) fn time(&mut self, what: impl Into<String>, micros: u32, goal_ms: Option<f64>) {
        let value = f64::from(micros) / 1e3;
        match goal_ms.map(Goal::AtMost) {
            Some(goal) => self.with_goal(what, Unit::Milliseconds, value, goal),
            None => self.figure(what, Unit::Milliseconds, value),
        }
    }

    /// The service against the bare loop, with the goals for its rate and its CPU, if it has any.
    pub(super) fn compare(
        &mut self,
        service: &Measurement,
        baseline: &Measurement,
        goals: Option<(f64, f64)>,
    ) {
        self.figure("deliveries", Unit::Count, to_f64(service.deliveries));
        self.figure("rate", Unit::PerSecond, service.per_second);
        self.figure("bare loop's rate", Unit::PerSecond, baseline.per_second);
        let ratio = quotient(service.per_second, baseline.per_second);
        self.ratio("rate over the bare loop's", ratio, goals.map(|it| Goal::AtLeast(it.0)));
        self.figure("CPU a delivery", Unit::Microseconds, service.cpu_us_each);
        self.figure("bare loop's CPU a request", Unit::Microseconds, baseline.cpu_us_each);
        let ratio = quotient(service.cpu_us_each, baseline.cpu_us_each);
        self.ratio("CPU over the bare loop's", ratio, goals.map(|it| Goal::AtMost(it.1)));
    }

    /// A ratio, with or without a goal.
    fn ratio(&mut self, what: &str, value: f64, goal: Option<Goal>) {
        match goal {
            Some(goal) => self.with_goal(what, Unit::Ratio, value, goal),
            None => self.figure(what, Unit::Ratio, value),
        }
    }

    /// Latencies without goals.
    pub(super) fn latencies(&mut self, side: &Measurement) {
        for (what, of) in
            [("acknowledgement latency", side.acknowledged), ("delivery latency", side.arrival)]
        {
            self.time(format!("{what}, p50"), of.p50_us, None);
            self.time(format!("{what}, p99"), of.p99_us, None);
        }
    }
}

/// The report of a bench.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: &'static str,
    pub(super) cores: usize,
    pub(super) event_bytes: usize,
    pub(super) workers: u32,
    pub(super) database_in_memory: bool,
    /// The version of the PostgreSQL server; none on SQLite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) postgres: Option<String>,
    pub(super) scenarios: Vec<ScenarioReport>,
}

impl Report {
    /// Deliveries of acknowledged events that never arrived.
    pub(super) fn lost(&self) -> u64 {
        self.scenarios.iter().map(|found| found.account.lost).sum()
    }

    /// Whether every figure that has a goal reaches it.
    pub(super) fn reaches_all(&self) -> bool {
        let figures = self.scenarios.iter().flat_map(|found| &found.figures);
        figures.filter_map(|figure| figure.reached).all(|reached| reached)
    }

    /// Prints it as JSON with `--json`, else as a table.
    pub(super) fn show(&self, output: &mut Output) -> std::io::Result<()> {
        if output.is_json() {
            return output.json(self);
        }
        output.table(&self.table())?;
        if self.database_in_memory {
            output.line("The database was in memory: commits cost nothing. Use --directory.")?;
        }
        for ScenarioReport { scenario, account, .. } in &self.scenarios {
            let Account { lost, refused, repeated_deliveries, fault, .. } = account;
            if lost + refused > 0 {
                let fault = fault.as_deref().unwrap_or("no fault was seen");
                output.line(format!("{scenario}: {lost} lost, {refused} refused: {fault}"))?;
            }
            if *repeated_deliveries > 0 {
                output
                    .line(format!("{scenario}: {repeated_deliveries} delivered more than once"))?;
            }
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["scenario", "what", "measured", "goal", ""]);
        for ScenarioReport { scenario, figures, .. } in &self.scenarios {
            for (place, figure) in figures.iter().enumerate() {
                let Figure { what, unit, value, goal, reached } = figure;
                table.row([
                    if place == 0 { scenario.to_string() } else { String::new() },
                    what.clone(),
                    unit.shown(*value),
                    goal.map(|goal| goal.shown(*unit)).unwrap_or_default(),
                    match reached {
                        Some(true) => "reached".to_owned(),
                        Some(false) => "missed".to_owned(),
                        None => String::new(),
                    },
                ]);
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_compared_with_its_goal() {
        let mut found = ScenarioReport::of(Scenario::Single, Account::default());
        found.with_goal("rate", Unit::Ratio, 0.36, Goal::AtLeast(0.36));
        found.with_goal("CPU", Unit::Ratio, 2.61, Goal::AtMost(2.6));
        found.time("p99", 3_999, Some(4.0));
        found.figure("events", Unit::Count, 1.0);
        let reached: Vec<_> = found.figures.iter().map(|figure| figure.reached).collect();
        assert_eq!(reached, [Some(true), Some(false), Some(true), None]);
        assert_eq!(Unit::Milliseconds.shown(3.999), "4.00 ms");
        assert_eq!(Goal::AtMost(2.6).shown(Unit::Ratio), "≤ 2.60");
    }
}
