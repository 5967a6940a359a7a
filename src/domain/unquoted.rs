//! Error messages of a parser, without the values that it quotes: a secret may stand anywhere.

/// A message without the value in `invalid type: string "…", expected …`.
#[must_use]
pub fn unquoted(message: &str) -> String {
    for start in ["invalid type: ", "invalid value: "] {
        let Some(at) = message.find(start) else { continue };
        let (before, rest) = message.split_at(at + start.len());
        let Some(end) = rest.rfind(", expected ") else { continue };
        return format!("{before}{}{}", bare(&rest[..end]), &rest[end..]);
    }
    message.to_owned()
}

/// The kind of a value, without the value: `string` of `string "…"`.
#[must_use]
pub fn bare(unexpected: &str) -> &str {
    unexpected.split(['"', '`']).next().unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_quoted() {
        for (message, expected) in [
            (
                "invalid type: string \"a, expected b\", expected a map at line 1 column 2",
                "invalid type: string, expected a map at line 1 column 2",
            ),
            (
                "x: invalid value: integer `5`, expected u8",
                "x: invalid value: integer, expected u8",
            ),
            ("invalid type: null, expected a map", "invalid type: null, expected a map"),
            ("missing field `name`", "missing field `name`"),
        ] {
            assert_eq!(unquoted(message), expected);
        }
    }
}
