//! The parser, by recursive descent: `or` binds weaker than `and`, `and` weaker than `!`. Every error has
//! its position and the expected token.

use super::expression::{Condition, Expression, Function, Literal, Operand, Path, Test};
use super::glob::Glob;
use super::lex::{Lexer, LocatedToken, Token};
use super::{MAX_CHARS, MAX_DEPTH, TriggerError};
use crate::json::Text;

/// Parses a whole text; none when it is empty.
pub(super) fn parse(text: &str) -> Result<Option<Expression>, TriggerError> {
    let chars = text.chars().count();
    if chars > MAX_CHARS {
        return Err(TriggerError {
            position: MAX_CHARS,
            expected: "the end of the trigger (at most 10000 characters)",
            found: format!("{} more", chars - MAX_CHARS),
        });
    }
    let mut lexer = Lexer::new(text);
    let next = lexer.next()?;
    let mut parser = Parser { lexer, next, depth: 0 };
    if parser.next.token == Token::End {
        return Ok(None);
    }
    let expression = parser.any()?;
    if parser.next.token == Token::End {
        Ok(Some(expression))
    } else {
        Err(parser.next.not("`and`, `or` or the end"))
    }
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    next: LocatedToken,
    depth: usize,
}

const CONDITION: &str = "a condition, such as `type = \"track\"`, a `!` or a `(`";
const OPERATOR: &str = "an operator: = != < <= > >= or in";
const VALUE: &str = "a value: a string in quotes, a number, true, false or null";
const NUMBER: &str = "a number";
const STRING: &str = "a string in quotes";

impl Parser<'_> {
    fn advance(&mut self) -> Result<LocatedToken, TriggerError> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn take_if(&mut self, token: &Token) -> Result<bool, TriggerError> {
        let found = self.next.token == *token;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn take(&mut self, token: &Token, expected: &'static str) -> Result<(), TriggerError> {
        if self.take_if(token)? { Ok(()) } else { Err(self.next.not(expected)) }
    }

    fn deeper(&mut self) -> Result<(), TriggerError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.next.not("at most 64 groups and negations in each other"));
        }
        Ok(())
    }

    fn any(&mut self) -> Result<Expression, TriggerError> {
        let mut parts = vec![self.all()?];
        while self.take_if(&Token::Or)? {
            parts.push(self.all()?);
        }
        Ok(only(&mut parts).unwrap_or(Expression::Any(parts)))
    }

    fn all(&mut self) -> Result<Expression, TriggerError> {
        let mut parts = vec![self.unary()?];
        while self.take_if(&Token::And)? {
            parts.push(self.unary()?);
        }
        Ok(only(&mut parts).unwrap_or(Expression::All(parts)))
    }

    fn unary(&mut self) -> Result<Expression, TriggerError> {
        let is_negation = self.next.token == Token::Bang;
        if !is_negation && self.next.token != Token::Open {
            return self.condition(false).map(Expression::Condition);
        }
        self.deeper()?;
        let expression = if is_negation { self.negation()? } else { self.group()? };
        self.depth -= 1;
        Ok(expression)
    }

    fn group(&mut self) -> Result<Expression, TriggerError> {
        self.advance()?;
        let expression = self.any()?;
        self.take(&Token::Close, "`and`, `or` or a closing `)`")?;
        Ok(expression)
    }

    /// A `!` and the group after it are one level, so that the printed form is as deep as the source. Before `contains` and `match` the `!` is part of the condition.
    fn negation(&mut self) -> Result<Expression, TriggerError> {
        self.advance()?;
        let negated = if self.next.token == Token::Open {
            self.group()?
        } else if matches!(self.next.token, Token::Path(_)) {
            let condition = self.condition(true)?;
            if matches!(condition.test, Test::Contains { .. } | Test::Match { .. }) {
                return Ok(Expression::Condition(condition));
            }
            Expression::Condition(condition)
        } else {
            self.unary()?
        };
        Ok(Expression::Not(Box::new(negated)))
    }

    fn condition(&mut self, negated: bool) -> Result<Condition, TriggerError> {
        let Token::Path(path) = &self.next.token else { return Err(self.next.not(CONDITION)) };
        let path = path.clone();
        let word = self.advance()?;
        if self.next.token != Token::Open {
            return self.comparison(Operand { function: None, path });
        }
        let [name] = path.0.as_slice() else { return Err(word.not(FUNCTION)) };
        match name.as_str() {
            "contains" => {
                let (operand, part) = self.two_arguments()?;
                Ok(Condition { operand, test: Test::Contains { part, negated } })
            }
            "match" => {
                let (operand, glob) = self.two_arguments()?;
                let glob = Glob::new(&glob);
                Ok(Condition { operand, test: Test::Match { glob, negated } })
            }
            name => {
                let function = function(name).ok_or_else(|| word.not(FUNCTION))?;
                let operand = self.argument(function)?;
                self.comparison(operand)
            }
        }
    }

    fn two_arguments(&mut self) -> Result<(Operand, String), TriggerError> {
        self.take(&Token::Open, "a `(`")?;
        let operand = self.operand()?;
        self.take(&Token::Comma, "a `,`")?;
        let Token::Text(text) = &self.next.token else { return Err(self.next.not(STRING)) };
        let text = text.clone();
        self.advance()?;
        self.take(&Token::Close, "a closing `)`")?;
        Ok((operand, text))
    }

    fn operand(&mut self) -> Result<Operand, TriggerError> {
        let path = self.path()?;
        match path.0.as_slice() {
            [name] if self.next.token == Token::Open => match function(name) {
                Some(function) => self.argument(function),
                None => Err(self.next.not("a `,`")),
            },
            _ => Ok(Operand { function: None, path }),
        }
    }

    fn path(&mut self) -> Result<Path, TriggerError> {
        let Token::Path(path) = &self.next.token else {
            return Err(self.next.not("a field, such as `event` or `properties.plan`"));
        };
        let path = path.clone();
        self.advance()?;
        Ok(path)
    }

    fn argument(&mut self, function: Function) -> Result<Operand, TriggerError> {
        self.take(&Token::Open, "a `(`")?;
        let path = self.path()?;
        self.take(&Token::Close, "a closing `)`")?;
        Ok(Operand { function: Some(function), path })
    }

    fn comparison(&mut self, operand: Operand) -> Result<Condition, TriggerError> {
        let test = if self.take_if(&Token::Equal)? {
            Test::Equal(self.literal()?)
        } else if self.take_if(&Token::Unequal)? {
            Test::Unequal(self.literal()?)
        } else if self.take_if(&Token::In)? {
            Test::In(self.list()?)
        } else if let Token::Order(order) = self.next.token {
            self.advance()?;
            Test::Order(order, self.bound()?)
        } else {
            return Err(self.next.not(OPERATOR));
        };
        Ok(Condition { operand, test })
    }

    /// A number, also one in quotes, as Segment's own screens write it.
    fn bound(&mut self) -> Result<f64, TriggerError> {
        let number = match literal(&self.next.token) {
            Some(Literal::Number(number)) => Some(number),
            Some(Literal::Text(text)) => quoted_number(&text.plain()),
            Some(Literal::Bool(_) | Literal::Null) | None => None,
        };
        let number = number.ok_or_else(|| self.next.not(NUMBER))?;
        self.advance()?;
        Ok(number)
    }

    fn literal(&mut self) -> Result<Literal, TriggerError> {
        let literal = literal(&self.next.token).ok_or_else(|| self.next.not(VALUE))?;
        self.advance()?;
        Ok(literal)
    }

    fn list(&mut self) -> Result<Vec<Literal>, TriggerError> {
        self.take(&Token::OpenList, "a list, such as `[\"a\", \"b\"]`")?;
        let mut literals = vec![self.literal()?];
        while self.take_if(&Token::Comma)? {
            literals.push(self.literal()?);
        }
        self.take(&Token::CloseList, "a `,` or a closing `]`")?;
        Ok(literals)
    }
}

const FUNCTION: &str = "a function: contains, match, length, lowercase, uppercase or typeof";

fn function(name: &str) -> Option<Function> {
    Function::ALL.into_iter().find(|function| function.as_str() == name)
}

fn literal(token: &Token) -> Option<Literal> {
    Some(match token {
        Token::Text(text) => Literal::Text(Text::from(text.clone())),
        Token::Number(number) => Literal::Number(*number),
        Token::True => Literal::Bool(true),
        Token::False => Literal::Bool(false),
        Token::Null => Literal::Null,
        Token::And
        | Token::Or
        | Token::In
        | Token::Bang
        | Token::Equal
        | Token::Unequal
        | Token::Order(_)
        | Token::Open
        | Token::Close
        | Token::OpenList
        | Token::CloseList
        | Token::Comma
        | Token::Path(_)
        | Token::End => return None,
    })
}

fn only(parts: &mut Vec<Expression>) -> Option<Expression> {
    if parts.len() == 1 { parts.pop() } else { None }
}

fn quoted_number(text: &str) -> Option<f64> {
    let mut lexer = Lexer::new(text);
    let number = lexer.next().ok()?;
    if lexer.next().ok()?.token != Token::End {
        return None;
    }
    if let Token::Number(number) = number.token { Some(number) } else { None }
}
