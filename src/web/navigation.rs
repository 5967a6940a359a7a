//! The navigation: every top-level page, in its group, with its keyboard shortcut.

/// A group of pages.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) entries: &'static [Entry],
}

/// A page in the navigation.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// Its path; pages below it belong to it.
    pub(super) path: &'static str,
    /// The key pressed after `g`.
    pub(super) key: &'static str,
}

const fn entry(name: &'static str, path: &'static str, key: &'static str) -> Entry {
    Entry { name, path, key }
}

/// The navigation, in display order.
pub(super) static NAVIGATION: &[Group] = &[
    Group {
        name: "Traffic",
        entries: &[
            entry("Overview", "/", "o"),
            entry("Live", "/live", "l"),
            entry("Events", "/events", "v"),
            entry("Deliveries", "/deliveries", "d"),
            entry("Dead letters", "/dead-letters", "x"),
            entry("Jobs", "/jobs", "j"),
        ],
    },
    Group {
        name: "Pipeline",
        entries: &[
            entry("Sources", "/sources", "e"),
            entry("Destinations", "/destinations", "n"),
            entry("Inspectors", "/inspectors", "i"),
        ],
    },
    Group {
        name: "System",
        entries: &[
            entry("Audit", "/audit", "a"),
            entry("Tokens", "/tokens", "t"),
            entry("Settings", "/settings", "s"),
            entry("Integrity check", "/doctor", "h"),
        ],
    },
];

impl Entry {
    /// Whether `path` is this page or below it.
    pub(super) fn contains(&self, path: &str) -> bool {
        path.strip_prefix(self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn keys_and_paths_are_unique() {
        let entries: Vec<_> = NAVIGATION.iter().flat_map(|group| group.entries).collect();
        let keys: BTreeSet<_> = entries.iter().map(|entry| entry.key).collect();
        let paths: BTreeSet<_> = entries.iter().map(|entry| entry.path).collect();
        assert_eq!((keys.len(), paths.len()), (entries.len(), entries.len()));
    }

    #[test]
    fn a_page_belongs_to_the_entry_above_it() {
        let jobs = entry("Jobs", "/jobs", "j");
        assert!(jobs.contains("/jobs") && jobs.contains("/jobs/job_1"));
        assert!(!jobs.contains("/jobsite") && !jobs.contains("/"));
        let overview = entry("Overview", "/", "o");
        assert!(overview.contains("/") && !overview.contains("/jobs"));
    }
}
