//! What a bench found: the figures, whether they reach the goals, and how they are shown.

use serde::Serialize;

use super::load::LoadReport;
use crate::cli::output::{Output, Table};
use crate::receiver::{Reading, quantile};

/// Rate at least this part of the baseline's.
const RATE_GOAL: f64 = 0.25;
/// CPU an event at most so many times the baseline's.
const CPU_GOAL: f64 = 5.0;

/// One side of the comparison.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Side {
    /// Events that arrived.
    pub(super) events: u64,
    /// From the first send to the last arrival, in seconds.
    pub(super) seconds: f64,
    /// The quotient.
    pub(super) events_per_second: f64,
    /// CPU of the process that is measured: the service, or the bare loop.
    pub(super) cpu_us_per_event: f64,
    /// From sending to the answer.
    pub(super) acknowledged: Quantiles,
    /// From sending to the receiver.
    pub(super) arrival: Quantiles,
}

/// Half, and 99 of 100, took less than this, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50_us: u32,
    pub(super) p99_us: u32,
}

/// What the service did with what it was given.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Account {
    /// Events acknowledged.
    pub(super) acknowledged: u64,
    /// Of these, never arrived.
    pub(super) lost: u64,
    /// Requests beyond one an event.
    pub(super) repeated_deliveries: u64,
    /// Events the load gave up, never acknowledged.
    pub(super) refused: u64,
    /// Tries of the load that were put off or broke.
    pub(super) put_off: u64,
    /// The last thing that went wrong for the load.
    pub(super) fault: Option<String>,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) version: &'static str,
    pub(super) cores: usize,
    pub(super) event_bytes: usize,
    pub(super) workers: u32,
    pub(super) database_in_memory: bool,
    pub(super) service: Side,
    pub(super) account: Account,
    pub(super) baseline: Side,
    /// The service's rate over the baseline's.
    pub(super) rate_ratio: f64,
    /// The service's CPU an event over the baseline's.
    pub(super) cpu_ratio: f64,
    pub(super) peak_memory_bytes: u64,
    pub(super) disk_bytes_per_event: u64,
    /// The open loop: latency at a rate far below the limit.
    pub(super) steady: Option<Steady>,
    /// Goals not reached.
    pub(super) missed: Vec<String>,
}

/// The open loop.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Steady {
    pub(super) events_per_second: u32,
    pub(super) side: Side,
    pub(super) account: Account,
}

impl Side {
    /// From what load and receiver saw, and the CPU that the measured process used meanwhile.
    pub(super) fn new(load: &LoadReport, reading: &Reading, cpu_us: u64) -> Self {
        let events = reading.distinct;
        let seconds = to_f64(u64::try_from(reading.last_us - load.first_us).unwrap_or(0)) / 1e6;
        Self {
            events,
            seconds,
            events_per_second: quotient(to_f64(events), seconds),
            cpu_us_per_event: quotient(to_f64(cpu_us), to_f64(events)),
            acknowledged: Quantiles { p50_us: load.p50_us, p99_us: load.p99_us },
            arrival: Quantiles { p50_us: reading.p50_us, p99_us: reading.p99_us },
        }
    }

    /// All turns together; of the latencies, those of the turn in the middle.
    pub(super) fn of(turns: &[Self]) -> Self {
        let events = turns.iter().map(|turn| turn.events).sum();
        let seconds = turns.iter().map(|turn| turn.seconds).sum();
        let cpu_us: f64 = turns.iter().map(|it| it.cpu_us_per_event * to_f64(it.events)).sum();
        Self {
            events,
            seconds,
            events_per_second: quotient(to_f64(events), seconds),
            cpu_us_per_event: quotient(cpu_us, to_f64(events)),
            acknowledged: Quantiles::middle(turns, |turn| turn.acknowledged),
            arrival: Quantiles::middle(turns, |turn| turn.arrival),
        }
    }
}

impl Account {
    pub(super) fn new(load: &LoadReport, reading: &Reading) -> Self {
        Self {
            acknowledged: load.acknowledged,
            lost: load.acknowledged.saturating_sub(reading.distinct),
            repeated_deliveries: reading.events.saturating_sub(reading.distinct),
            refused: load.failed,
            put_off: load.repeated,
            fault: load.fault.clone(),
        }
    }

    /// Adds another turn's.
    pub(super) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.repeated_deliveries += other.repeated_deliveries;
        self.refused += other.refused;
        self.put_off += other.put_off;
        self.fault = other.fault.or(self.fault.take());
    }
}

impl Report {
    /// Fills in what follows from the sides.
    pub(super) fn judge(&mut self) {
        let Self { service, baseline, .. } = self;
        self.rate_ratio = quotient(service.events_per_second, baseline.events_per_second);
        self.cpu_ratio = quotient(service.cpu_us_per_event, baseline.cpu_us_per_event);
        if self.rate_ratio < RATE_GOAL {
            self.missed
                .push(format!("rate {:.2} of the baseline's, not {RATE_GOAL}", self.rate_ratio));
        }
        if self.cpu_ratio > CPU_GOAL {
            self.missed
                .push(format!("CPU {:.1} times the baseline's, not {CPU_GOAL}", self.cpu_ratio));
        }
    }

    /// Events that were acknowledged and never arrived.
    pub(super) fn lost(&self) -> u64 {
        self.account.lost + self.steady.as_ref().map_or(0, |steady| steady.account.lost)
    }

    /// Shows it: JSON when asked for, else a table.
    pub(super) fn show(&self, output: &mut Output) -> std::io::Result<()> {
        if output.is_json() {
            return output.json(self);
        }
        output.table(&self.table())?;
        if self.database_in_memory {
            output.line("The database was in memory: commits cost nothing. Use --directory.")?;
        }
        for account in
            std::iter::once(&self.account).chain(self.steady.as_ref().map(|steady| &steady.account))
        {
            if account.lost + account.refused > 0 {
                let fault = account.fault.as_deref().unwrap_or("no fault was seen");
                let Account { lost, refused, .. } = account;
                output.line(format!("{lost} events lost, {refused} refused: {fault}"))?;
            }
        }
        for missed in &self.missed {
            output.line(format!("below the goal: {missed}"))?;
        }
        Ok(())
    }

    fn table(&self) -> Table {
        let [service, baseline] = [&self.service, &self.baseline];
        let mut table = Table::new(&["what", "service", "bare loop", "ratio"]);
        let mut row = |what: &str, of: &dyn Fn(&Side) -> String, ratio: String| {
            table.row([what.to_owned(), of(service), of(baseline), ratio]);
        };
        row("events", &|side| side.events.to_string(), String::new());
        row(
            "events/s, first send to last arrival",
            &|side| format!("{:.0}", side.events_per_second),
            format!("{:.2}", self.rate_ratio),
        );
        row(
            "CPU µs an event",
            &|side| format!("{:.1}", side.cpu_us_per_event),
            format!("{:.2}", self.cpu_ratio),
        );
        row("acknowledged p50 / p99 ms", &|side| side.acknowledged.shown(), String::new());
        row("arrived p50 / p99 ms", &|side| side.arrival.shown(), String::new());
        self.service_rows(&mut table);
        table
    }

    fn service_rows(&self, table: &mut Table) {
        let mut row = |what: String, value: String| {
            table.row([what, value, String::new(), String::new()]);
        };
        row(
            "peak memory MiB".into(),
            format!("{:.1}", to_f64(self.peak_memory_bytes) / 1_048_576.0),
        );
        row("disk bytes an event".into(), self.disk_bytes_per_event.to_string());
        row("lost".into(), self.lost().to_string());
        row("repeated deliveries".into(), self.account.repeated_deliveries.to_string());
        if let Some(Steady { events_per_second, side, .. }) = &self.steady {
            let at = format!("at {events_per_second} events/s:");
            row(format!("{at} acknowledged p50 / p99 ms"), side.acknowledged.shown());
            row(format!("{at} arrived p50 / p99 ms"), side.arrival.shown());
        }
    }
}

impl Quantiles {
    fn middle(turns: &[Side], of: fn(&Side) -> Self) -> Self {
        let middle = |which: fn(Self) -> u32| {
            let mut all: Vec<u32> = turns.iter().map(|turn| which(of(turn))).collect();
            all.sort_unstable();
            quantile(&all, 50)
        };
        Self { p50_us: middle(|it| it.p50_us), p99_us: middle(|it| it.p99_us) }
    }

    fn shown(self) -> String {
        format!("{:.2} / {:.2}", f64::from(self.p50_us) / 1e3, f64::from(self.p99_us) / 1e3)
    }
}

fn quotient(above: f64, below: f64) -> f64 {
    if below > 0.0 { above / below } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) fn to_f64(count: u64) -> f64 {
    count as f64
}
