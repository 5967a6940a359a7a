//! An error and its causes: iterated from the outside in, and printed in one line.

use std::error::Error;
use std::io;

/// The error, then each cause.
pub fn chain<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause_of(*error))
}

/// The error and its causes in one line, separated by colons.
#[must_use]
pub fn display(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    append_causes(&mut line, error);
    line
}

/// Appends the causes of an error, without the error itself, to a line that describes it. A cause whose
/// text the line already contains is skipped: many errors print their cause themselves.
pub fn append_causes(line: &mut String, error: &(dyn Error + 'static)) {
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = cause.source();
    }
}

fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    // `io::Error::source` skips the error that it wraps and returns that error's source.
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[test]
    fn causes_are_printed_once_in_one_line() {
        let inner = "x".parse::<u8>().expect_err("not a number");
        let error = Outer(io::Error::other(inner));
        assert_eq!(display(&error), "outer: invalid digit found in string");
    }

    #[test]
    fn a_cause_that_its_parent_prints_is_not_repeated() {
        let mut line = "invalid digit found in string (line 1)".to_owned();
        let inner = "x".parse::<u8>().expect_err("not a number");
        append_causes(&mut line, &Outer(io::Error::other(inner)));
        assert_eq!(line, "invalid digit found in string (line 1)");
    }

    #[test]
    fn the_chain_includes_errors_wrapped_by_io_errors() {
        let inner = "x".parse::<u8>().expect_err("not a number");
        let error = Outer(io::Error::other(inner));
        assert!(chain(&error).any(|cause| cause.is::<std::num::ParseIntError>()));
    }
}
