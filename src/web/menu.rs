//! The navigation: every page that can be gone to, in its group, with its key.

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
    /// Where it is; what lies below it belongs to it.
    pub(super) path: &'static str,
    /// Pressed after `g`.
    pub(super) key: &'static str,
}

const fn entry(name: &'static str, path: &'static str, key: &'static str) -> Entry {
    Entry { name, path, key }
}

/// The navigation, in the order in which it is shown.
pub(super) static MENU: &[Group] = &[
    Group {
        name: "Flow",
        entries: &[
            entry("Overview", "/", "o"),
            entry("Live", "/live", "l"),
            entry("Deliveries", "/deliveries", "d"),
            entry("Dead letters", "/dead-letters", "x"),
            entry("Jobs", "/jobs", "j"),
        ],
    },
    Group {
        name: "Set-up",
        entries: &[entry("Sources", "/sources", "e"), entry("Inspectors", "/inspectors", "i")],
    },
    Group {
        name: "Service",
        entries: &[
            entry("Audit", "/audit", "a"),
            entry("Tokens", "/tokens", "t"),
            entry("Settings", "/settings", "s"),
            entry("Doctor", "/doctor", "h"),
        ],
    },
];

impl Entry {
    /// Whether the page at `path` is this one or lies below it.
    pub(super) fn holds(&self, path: &str) -> bool {
        path.strip_prefix(self.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_pages_have_the_same_key_or_path() {
        let entries: Vec<_> = MENU.iter().flat_map(|group| group.entries).collect();
        let keys: BTreeSet<_> = entries.iter().map(|entry| entry.key).collect();
        let paths: BTreeSet<_> = entries.iter().map(|entry| entry.path).collect();
        assert_eq!((keys.len(), paths.len()), (entries.len(), entries.len()));
    }

    #[test]
    fn a_page_belongs_to_the_entry_it_lies_below() {
        let jobs = entry("Jobs", "/jobs", "j");
        assert!(jobs.holds("/jobs") && jobs.holds("/jobs/job_1"));
        assert!(!jobs.holds("/jobsite") && !jobs.holds("/"));
        let overview = entry("Overview", "/", "o");
        assert!(overview.holds("/") && !overview.holds("/jobs"));
    }
}
