//! Response scripts: the status of the first, second, … response to a delivery, to simulate failures and
//! retries.

use std::str::FromStr;

use http::StatusCode;

/// Statuses in a script at most.
const MAX_STATUSES: usize = 100;

/// Statuses in sequence; the last one repeats. By default 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script(Vec<StatusCode>);

/// Why a text is not a valid script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// Not a final HTTP status.
    #[error("{0:?} is not a status: give statuses from 200 to 599 with commas, as in 503,503,200")]
    Status(String),
    /// Too many statuses.
    #[error("{0} statuses are too many: at most 100")]
    Length(usize),
}

impl Script {
    /// The statuses in the form that [`FromStr`] parses.
    #[must_use]
    pub fn to_text(&self) -> String {
        let statuses: Vec<_> = self.0.iter().map(|it| it.as_u16().to_string()).collect();
        statuses.join(",")
    }

    /// The status of the `tried`th response, counted from 1.
    #[must_use]
    pub fn status(&self, tried: u32) -> StatusCode {
        let at = usize::try_from(tried.saturating_sub(1)).unwrap_or(usize::MAX);
        self.0.get(at).or(self.0.last()).copied().unwrap_or(StatusCode::OK)
    }
}

impl Default for Script {
    fn default() -> Self {
        Self(vec![StatusCode::OK])
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        if words.len() > MAX_STATUSES {
            return Err(ScriptError::Length(words.len()));
        }
        let statuses = words.into_iter().map(|word| {
            word.parse::<u16>()
                .ok()
                .filter(|status| (200..600).contains(status))
                .and_then(|status| StatusCode::from_u16(status).ok())
                .ok_or_else(|| ScriptError::Status(word.to_owned()))
        });
        statuses.collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_status_repeats() {
        let script: Script = "503, 429,204".parse().expect("a script");
        let answers: Vec<u16> = (1..=5).map(|tried| script.status(tried).as_u16()).collect();
        assert_eq!(answers, [503, 429, 204, 204, 204]);
        assert_eq!(Script::default().status(7), StatusCode::OK);
        assert_eq!(script.to_text().parse(), Ok(script));
    }

    #[test]
    fn an_invalid_script_is_refused() {
        for text in ["", "ok", "503,,200", "100", "600", "99999"] {
            assert!(matches!(text.parse::<Script>(), Err(ScriptError::Status(_))), "{text}");
        }
        let long = vec!["200"; 101].join(",");
        assert_eq!(long.parse::<Script>(), Err(ScriptError::Length(101)));
    }
}
