//! The lexer: tokens with their position, one at a time, so that the first error in the text is the one
//! reported. Strings have no escapes: one that contains a quote is written in the other quotes.

use super::TriggerError;
use super::expression::{Order, Path};

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    And,
    Or,
    In,
    True,
    False,
    Null,
    Bang,
    Equal,
    Unequal,
    Order(Order),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Text(String),
    Number(f64),
    /// A path, or the name of a function.
    Path(Path),
    End,
}

/// A token and its position.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LocatedToken {
    pub(super) token: Token,
    /// Characters before it.
    pub(super) position: usize,
    /// Its text, for errors.
    pub(super) text: String,
}

/// Longer tokens are cut in an error.
const MAX_SHOWN_CHARS: usize = 40;

impl LocatedToken {
    /// The error that something else was expected here.
    pub(super) fn not(&self, expected: &'static str) -> TriggerError {
        let found = if self.token == Token::End {
            "the end".to_owned()
        } else if self.text.chars().count() > MAX_SHOWN_CHARS {
            let start: String = self.text.chars().take(MAX_SHOWN_CHARS).collect();
            format!("`{start}…`")
        } else {
            format!("`{}`", self.text)
        };
        TriggerError { position: self.position, expected, found }
    }
}

/// Reads tokens.
pub(super) struct Lexer<'t> {
    rest: std::str::Chars<'t>,
    position: usize,
}

impl<'t> Lexer<'t> {
    /// From the start of a text.
    pub(super) fn new(text: &'t str) -> Self {
        Self { rest: text.chars(), position: 0 }
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn bump(&mut self) -> Option<char> {
        let char = self.rest.next();
        self.position += usize::from(char.is_some());
        char
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    /// An error at the current position.
    fn fault(&self, expected: &'static str) -> TriggerError {
        let found = self.peek().map_or("the end".to_owned(), |char| format!("`{char}`"));
        TriggerError { position: self.position, expected, found }
    }

    /// The next token; [`Token::End`] at the end, again and again.
    pub(super) fn next(&mut self) -> Result<LocatedToken, TriggerError> {
        while self.peek().is_some_and(char::is_whitespace) {
            self.bump();
        }
        let (position, start) = (self.position, self.rest.as_str());
        let token = self.token()?;
        let text = start[..start.len() - self.rest.as_str().len()].to_owned();
        Ok(LocatedToken { token, position, text })
    }

    fn token(&mut self) -> Result<Token, TriggerError> {
        let Some(char) = self.peek() else { return Ok(Token::End) };
        match char {
            '"' | '\'' => return self.string(char),
            '0'..='9' | '-' | '+' => return self.number(),
            char if starts_step(char) => return self.word(),
            _ => {}
        }
        let fault = self.fault("a condition, an operator or a value");
        self.bump();
        Ok(match char {
            '(' => Token::Open,
            ')' => Token::Close,
            '[' => Token::OpenList,
            ']' => Token::CloseList,
            ',' => Token::Comma,
            '=' => Token::Equal,
            '!' if self.take_if('=') => Token::Unequal,
            '!' => Token::Bang,
            '<' if self.take_if('=') => Token::Order(Order::LessOrEqual),
            '<' => Token::Order(Order::Less),
            '>' if self.take_if('=') => Token::Order(Order::GreaterOrEqual),
            '>' => Token::Order(Order::Greater),
            _ => return Err(fault),
        })
    }

    fn string(&mut self, quote: char) -> Result<Token, TriggerError> {
        self.bump();
        let mut string = String::new();
        loop {
            match self.bump() {
                Some(char) if char == quote => return Ok(Token::Text(string)),
                Some(char) => string.push(char),
                None if quote == '"' => return Err(self.fault("a closing `\"`")),
                None => return Err(self.fault("a closing `'`")),
            }
        }
    }

    fn digits(&mut self, into: &mut String) -> Result<(), TriggerError> {
        if !self.peek().is_some_and(|char| char.is_ascii_digit()) {
            return Err(self.fault("a digit"));
        }
        while let Some(digit) = self.peek().filter(char::is_ascii_digit) {
            into.push(digit);
            self.bump();
        }
        Ok(())
    }

    fn sign(&mut self, into: &mut String) {
        if let Some(sign) = self.peek().filter(|char| matches!(char, '-' | '+')) {
            into.push(sign);
            self.bump();
        }
    }

    fn number(&mut self) -> Result<Token, TriggerError> {
        let start = self.fault("a number that a double can hold");
        let mut text = String::new();
        self.sign(&mut text);
        self.digits(&mut text)?;
        if self.take_if('.') {
            text.push('.');
            self.digits(&mut text)?;
        }
        if self.peek().is_some_and(|char| matches!(char, 'e' | 'E')) {
            self.bump();
            text.push('e');
            self.sign(&mut text);
            self.digits(&mut text)?;
        }
        if self.peek().is_some_and(|char| in_step(char) || matches!(char, '.' | '\\')) {
            return Err(self.fault("the end of the number"));
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Token::Number(number)),
            Ok(_) | Err(_) => Err(TriggerError { found: format!("`{text}`"), ..start }),
        }
    }

    fn word(&mut self) -> Result<Token, TriggerError> {
        let mut steps = Vec::new();
        let mut escaped = false;
        loop {
            steps.push(self.step(&mut escaped)?);
            if !self.take_if('.') {
                break;
            }
        }
        let keyword = match steps.as_slice() {
            [word] if !escaped => keyword(word),
            _ => None,
        };
        Ok(keyword.unwrap_or(Token::Path(Path(steps))))
    }

    fn step(&mut self, escaped: &mut bool) -> Result<String, TriggerError> {
        let mut step = String::new();
        loop {
            match self.peek() {
                Some('\\') => {
                    self.bump();
                    *escaped = true;
                    step.push(self.bump().ok_or_else(|| self.fault("a character after the `\\`"))?);
                }
                Some(char) if in_step(char) => {
                    step.push(char);
                    self.bump();
                }
                Some(_) | None if step.is_empty() => return Err(self.fault("a field's name")),
                Some(_) | None => return Ok(step),
            }
        }
    }
}

/// The token of a keyword.
pub(super) fn keyword(word: &str) -> Option<Token> {
    Some(match word {
        "and" => Token::And,
        "or" => Token::Or,
        "in" => Token::In,
        "true" => Token::True,
        "false" => Token::False,
        "null" => Token::Null,
        _ => return None,
    })
}

/// Whether a word may start with it.
pub(super) fn starts_step(char: char) -> bool {
    char.is_alphabetic() || matches!(char, '_' | '\\')
}

/// Whether it needs no `\` within a field's name.
pub(super) fn in_step(char: char) -> bool {
    char.is_alphanumeric() || matches!(char, '_' | '-')
}
