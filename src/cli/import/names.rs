//! Names in a pipeline file: valid, unique among their siblings; and names of variables for secrets.

/// Names in use.
#[derive(Debug, Default)]
pub(super) struct UniqueNames(Vec<String>);

impl UniqueNames {
    /// A valid name that is not in use.
    pub(super) fn take(&mut self, wanted: &str) -> String {
        const MAX: usize = 90;
        let clean: String = wanted
            .chars()
            .map(|char| if char == '/' || char.is_control() { '-' } else { char })
            .take(MAX)
            .collect();
        let clean = match clean.trim() {
            "" | "." | ".." => "unnamed",
            clean => clean,
        };
        let mut name = clean.to_owned();
        let mut number = 1;
        while self.0.contains(&name) {
            number += 1;
            name = format!("{clean} {number}");
        }
        self.0.push(name.clone());
        name
    }
}

/// A variable's name for a secret of a destination.
pub(super) fn variable(at: &str, what: &str) -> String {
    let plain = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
    let name: String = format!("{at}_{what}").chars().map(plain).collect();
    let name = name.to_ascii_uppercase();
    if name.starts_with(|char: char| char.is_ascii_digit()) { format!("_{name}") } else { name }
}
