//! Error messages of a parser, without the values that it quotes: a secret may stand anywhere.

/// A longer word in the place of a variant may be a secret, and no misspelling that is worth naming.
const MAX_VARIANT: usize = 8;

/// A message without the value in `invalid type: string "…", expected …` and ``unknown variant `…`, expected …``.
#[must_use]
pub fn unquoted(message: &str) -> String {
    const VARIANT: &str = "unknown variant `";
    if let Some(at) = message.find(VARIANT) {
        let (before, value) = message.split_at(at + VARIANT.len());
        if let Some(end) = value.rfind("`, expected ").filter(|end| *end >= MAX_VARIANT) {
            return format!("{}{}", before.trim_end_matches([' ', '`']), &value[end + 1..]);
        }
    }
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
            ("unknown variant `GET`, expected `POST`", "unknown variant `GET`, expected `POST`"),
            (
                "auth: unknown variant `s3cret`-t`, expected `a` or `b` at line 1",
                "auth: unknown variant, expected `a` or `b` at line 1",
            ),
        ] {
            assert_eq!(unquoted(message), expected);
        }
    }
}
