//! Numbers: IEEE doubles, printed as `Number.prototype.toString` does (ECMA-262, 6.1.6.1.20).

use super::text::Text;

/// Beyond this a double no longer holds every integer.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

/// Appends a number as `JSON.stringify` prints it; infinities and NaN print as `null`.
#[expect(clippy::cast_possible_truncation, reason = "checked to be an integer of at most 53 bits")]
pub fn print_number(number: f64, out: &mut Vec<u8>) {
    if number.trunc() == number && number.abs() < EXACT_INTEGERS {
        out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
    } else if number.is_finite() {
        out.extend_from_slice(ryu_js::Buffer::new().format_finite(number).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// A number as `String(number)` gives it: as `JSON.stringify` prints it, except infinities and NaN.
#[must_use]
pub fn number_text(number: f64) -> Text<'static> {
    if number.is_infinite() {
        return Text::from_plain(if number > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let mut printed = Vec::new();
    print_number(number, &mut printed);
    Text::from(String::from_utf8(printed).unwrap_or_default())
}
