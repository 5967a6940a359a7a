//! Tokens of Rust source as `proc_macro2` reads them, flat, without comments and string literals: for
//! rules about names, and for macro bodies and attributes, which have no syntax tree.

use std::str::FromStr;

use proc_macro2::{Delimiter, Spacing, Span, TokenStream, TokenTree};

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) text: String,
    span: Span,
}

impl Token {
    /// Counted from 1.
    pub(super) fn line(&self) -> usize {
        self.span.start().line
    }
}

/// The tokens of a file: identifiers, `::` as one, any other punctuation a character each.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    flat(TokenStream::from_str(source).expect("Rust source"))
}

/// The same of a macro's body.
pub(super) fn flat(stream: TokenStream) -> Vec<Token> {
    let mut tokens = Vec::new();
    push(stream, &mut tokens);
    tokens
}

fn push(stream: TokenStream, tokens: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let span = tree.span();
        let mut token = |text: String, span: Span| tokens.push(Token { text, span });
        match tree {
            TokenTree::Ident(ident) => token(ident.to_string(), span),
            TokenTree::Literal(_) => {}
            TokenTree::Punct(colon)
                if colon.as_char() == ':' && colon.spacing() == Spacing::Joint =>
            {
                let is_path =
                    matches!(trees.peek(), Some(TokenTree::Punct(next)) if next.as_char() == ':');
                if is_path {
                    trees.next();
                }
                token(if is_path { "::" } else { ":" }.to_owned(), span);
            }
            TokenTree::Punct(punct) => token(punct.as_char().to_string(), span),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                token(open.to_owned(), span);
                push(group.stream(), tokens);
                let span = group.span_close();
                tokens.push(Token { text: close.to_owned(), span });
            }
        }
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
                fn life < ' a > ( x : & ' a str ) - > r#type { x :: y }";
    assert_eq!(texts.join(" "), code);
    assert_eq!(tokens("a\n\"\n\"\nb").last().map(Token::line), Some(4));
}
