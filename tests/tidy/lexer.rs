//! Rust source as a list of tokens, without comments, strings and characters: what they say is not
//! code, and a rule that looked into them would see ghosts.

/// A token and the line it stands on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

/// The tokens: identifiers, `::` as one, any other punctuation a character each.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: source, line: 1, tokens: Vec::new() };
    while !lexer.rest.is_empty() {
        lexer.step();
    }
    lexer.tokens
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn step(&mut self) {
        let first = self.rest.chars().next().unwrap_or(' ');
        if self.rest.starts_with("//") {
            self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.skip(block_comment(self.rest));
        } else if let Some(length) = raw_string(self.rest) {
            self.skip(length);
        } else if first == '"' {
            self.skip(quoted(self.rest, '"'));
        } else if first == '\'' {
            self.skip(character_or_lifetime(self.rest));
        } else if first.is_alphanumeric() || first == '_' {
            let length = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            self.take(length.unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("::") {
            self.take(2);
        } else if first.is_whitespace() {
            self.skip(first.len_utf8());
        } else {
            self.take(first.len_utf8());
        }
    }

    fn take(&mut self, length: usize) {
        let text = self.rest[..length].to_owned();
        self.tokens.push(Token { text, line: self.line });
        self.skip(length);
    }

    fn skip(&mut self, length: usize) {
        let (passed, rest): (&'a str, &'a str) = self.rest.split_at(length);
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"`, `cr"…"`; none when it is something else, as `r#type`.
fn raw_string(text: &str) -> Option<usize> {
    let after = ["br", "cr", "r"].into_iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let inner = after.trim_start_matches('#');
    let hashes = after.len() - inner.len();
    let body = inner.strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - body.len();
    Some(body.find(&closing).map_or(text.len(), |end| start + end + closing.len()))
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn character_or_lifetime(text: &str) -> usize {
    let mut inner = text.chars().skip(1);
    match (inner.next(), inner.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 1,
    }
}

#[test]
fn comments_strings_and_characters_are_not_code() {
    let source = r####"
        // sqlx::a
        /* sqlx /* nested */ ::b */
        let s = "sqlx::\"c"; let r = r#"sqlx::"d"#; let b = br"sqlx\"; let q = '"'; let e = '\'';
        fn life<'a>(x: &'a str) -> r#type { x::y }
    "####;
    let texts: Vec<String> = tokens(source).into_iter().map(|token| token.text).collect();
    let code = "let s = ; let r = ; let b = ; let q = ; let e = ; \
                fn life < a > ( x : & a str ) - > r # type { x :: y }";
    assert_eq!(texts.join(" "), code.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(tokens("a\n\"\n\"\nb").last().map(|token| token.line), Some(4));
}
