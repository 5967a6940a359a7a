//! CPU utilization of the whole machine.

use anyhow::Context as _;

use super::measurement::{quotient, to_f64};

/// CPU times since boot, in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CpuTimes {
    busy: u64,
    all: u64,
}

impl CpuTimes {
    pub(super) fn now() -> anyhow::Result<Self> {
        let text = std::fs::read_to_string("/proc/stat")
            .context("the bench needs /proc/stat, as on Linux")?;
        Self::read(&text).context("/proc/stat is not as proc(5) says")
    }

    /// The first line of proc(5)'s stat: user, nice, system, idle, iowait, irq, softirq and steal. Guest
    /// times, after these, are included in the first two.
    fn read(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks = line.split_ascii_whitespace().take(8).map(str::parse);
        let ticks: Vec<u64> = ticks.collect::<Result<_, _>>().ok()?;
        let (&idle, &waiting) = (ticks.get(3)?, ticks.get(4)?);
        let all: u64 = ticks.iter().sum();
        Some(Self { busy: all - idle - waiting, all })
    }

    /// The utilization since `before`, from 0 to 1.
    pub(super) fn busy_since(self, before: Self) -> f64 {
        let busy = self.busy.saturating_sub(before.busy);
        quotient(to_f64(busy), to_f64(self.all.saturating_sub(before.all)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_stat_is_parsed() {
        let before = CpuTimes::read("cpu  10 1 4 80 5 0 1 1 9 9\ncpu0 1 2\n").expect("a line");
        assert_eq!(before, CpuTimes { busy: 17, all: 102 });
        let after = CpuTimes { busy: 77, all: 202 };
        assert!((after.busy_since(before) - 0.6).abs() < 1e-9);
        assert!(before.busy_since(before).abs() < 1e-9, "no time, no load");
        assert_eq!(CpuTimes::read("cpu0 1 2 3 4 5"), None);
        assert_eq!(CpuTimes::read("cpu  1 2 x 4 5"), None);
        assert_eq!(CpuTimes::read("cpu  1 2 3"), None);
        CpuTimes::now().expect("Linux");
    }
}
