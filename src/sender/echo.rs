//! Finds a secret in text in which any of its bytes may be escaped: JSON (`\/`, `\u0026`, nested too),
//! percent (`%2F`, `%252F`, `+`), HTML (`&amp;`, `&#38;`, `&#x26;`).

/// What a text begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Echo {
    /// The secret, in this many bytes.
    Whole(usize),
    /// The text ends within the secret, after this many of its bytes.
    CutAfter(usize),
    None,
}

/// Whether `text` begins with `secret`.
pub(super) fn echo_at(text: &[u8], secret: &[u8]) -> Echo {
    let (mut at, mut known) = (0, 0);
    while known < secret.len() {
        let rest = &text[at..];
        if rest.is_empty() {
            return Echo::CutAfter(known);
        }
        match step(rest, &secret[known..]) {
            Some((length, bytes)) => {
                at += length;
                known += bytes;
            }
            // An escape that the end of the text cuts.
            None if rest.len() < 6 && matches!(rest[0], b'%' | b'\\' | b'&') => {
                return Echo::CutAfter(known);
            }
            None => return Echo::None,
        }
    }
    Echo::Whole(at)
}

/// The bytes of the text that stand for the next bytes of the secret, and how many these are.
fn step(text: &[u8], secret: &[u8]) -> Option<(usize, usize)> {
    let byte = secret[0];
    let slashes = text.iter().take_while(|it| **it == b'\\').count();
    if slashes > 0 {
        if let Some((length, bytes)) = code_escape(&text[slashes..], secret) {
            return Some((slashes + length, bytes));
        }
        let own = secret.iter().take_while(|it| **it == b'\\').count();
        if own > 0 && slashes >= own {
            return Some((escaped_quote(text, slashes, secret, own), own));
        }
        return (text.get(slashes) == Some(&byte)).then_some((slashes + 1, 1));
    }
    if text[0] == b'%'
        && let Some(length) = percent(text, byte)
    {
        return Some((length, 1));
    }
    if text[0] == b'&'
        && let Some((length, bytes)) = entity(text, secret)
    {
        return Some((length, bytes));
    }
    let is_same = text[0] == byte || text[0] == b'+' && byte == b' ';
    is_same.then_some((1, 1))
}

/// The backslashes that stand for the secret's own: all, but those that escape what follows.
fn escaped_quote(text: &[u8], slashes: usize, secret: &[u8], own: usize) -> usize {
    match (text.get(slashes), secret.get(own)) {
        // Unescaped text: none of the backslashes belongs to the next character.
        (Some(next), Some(byte)) if next == byte && slashes == own => own,
        _ => slashes,
    }
}

/// `u0026` or `x26` behind backslashes: its length, and the bytes of the secret that it is.
fn code_escape(text: &[u8], secret: &[u8]) -> Option<(usize, usize)> {
    let digits = match text.first()? {
        b'u' => 4,
        b'x' => 2,
        _ => return None,
    };
    let code = text.get(1..=digits).and_then(hex_number)?;
    begins_with(secret, code).map(|bytes| (1 + digits, bytes))
}

/// How many bytes of the secret are this character.
fn begins_with(secret: &[u8], code: u32) -> Option<usize> {
    let mut buffer = [0; 4];
    let text = char::from_u32(code)?.encode_utf8(&mut buffer);
    secret.starts_with(text.as_bytes()).then_some(text.len())
}

/// `%2F`, also encoded again: `%252F`.
fn percent(text: &[u8], byte: u8) -> Option<usize> {
    let mut at = 1;
    while text[at..].starts_with(b"25") && text.get(at + 2).is_some_and(u8::is_ascii_hexdigit) {
        at += 2;
    }
    // The last `25` may itself be the byte.
    for end in [at + 2, at] {
        let code = end.checked_sub(2).and_then(|from| text.get(from..end)).and_then(hex_number);
        if code == Some(u32::from(byte)) {
            return Some(end);
        }
    }
    None
}

fn entity(text: &[u8], secret: &[u8]) -> Option<(usize, usize)> {
    let end = text.iter().take(10).position(|it| *it == b';')?;
    let name = std::str::from_utf8(&text[1..end]).ok()?;
    let code = match name {
        "amp" => u32::from(b'&'),
        "lt" => u32::from(b'<'),
        "gt" => u32::from(b'>'),
        "quot" => u32::from(b'"'),
        "apos" => u32::from(b'\''),
        _ => match name.strip_prefix(['x', 'X']).or_else(|| name.strip_prefix("#x")) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => match name.strip_prefix("#X") {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => name.strip_prefix('#')?.parse().ok()?,
            },
        },
    };
    begins_with(secret, code).map(|bytes| (end + 1, bytes))
}

fn hex_number(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    let is_hex = text.bytes().all(|it| it.is_ascii_hexdigit());
    if is_hex { u32::from_str_radix(text, 16).ok() } else { None }
}
