//! Prints an expression in a canonical form that parses to the same tree.

use std::fmt;

use super::expression::{Condition, Expression, Literal, Operand, Path, Test};
use super::lex::{in_step, keyword, starts_step};

impl fmt::Display for Expression {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(parts) => join(out, parts, " or ", |part| matches!(part, Self::Any(_))),
            Self::All(parts) => {
                join(out, parts, " and ", |part| matches!(part, Self::Any(_) | Self::All(_)))
            }
            Self::Not(inner) if matches!(**inner, Self::Not(_)) => write!(out, "!{inner}"),
            Self::Not(inner) => write!(out, "!({inner})"),
            Self::Condition(condition) => write!(out, "{condition}"),
        }
    }
}

fn join(
    out: &mut fmt::Formatter<'_>,
    parts: &[Expression],
    by: &str,
    in_group: fn(&Expression) -> bool,
) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.write_str(by)?;
        }
        if in_group(part) {
            write!(out, "({part})")?;
        } else {
            write!(out, "{part}")?;
        }
    }
    Ok(())
}

impl fmt::Display for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operand = &self.operand;
        match &self.test {
            Test::Equal(literal) => write!(out, "{operand} = {literal}"),
            Test::Unequal(literal) => write!(out, "{operand} != {literal}"),
            Test::Order(order, bound) => {
                write!(out, "{operand} {} {}", order.as_str(), Literal::Number(*bound))
            }
            Test::In(literals) => {
                write!(out, "{operand} in [")?;
                for (index, literal) in literals.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(out, "{comma}{literal}")?;
                }
                out.write_str("]")
            }
            Test::Contains { part, negated } => {
                write!(out, "{}contains({operand}, {})", bang(*negated), Quoted(part))
            }
            Test::Match { glob, negated } => {
                write!(out, "{}match({operand}, {})", bang(*negated), Quoted(glob.source()))
            }
        }
    }
}

const fn bang(negated: bool) -> &'static str {
    if negated { "!" } else { "" }
}

impl fmt::Display for Operand {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.function {
            Some(function) => write!(out, "{}({})", function.as_str(), self.path),
            None => write!(out, "{}", self.path),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str(".")?;
            }
            let reserved = index == 0
                && (keyword(step).is_some() || !step.chars().next().is_some_and(starts_step));
            for (at, char) in step.chars().enumerate() {
                if !in_step(char) || (reserved && at == 0) {
                    out.write_str("\\")?;
                }
                write!(out, "{char}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(out, "{}", Quoted(&text.plain())),
            Self::Number(number) => out.write_str(ryu_js::Buffer::new().format(*number)),
            Self::Bool(bool) => write!(out, "{bool}"),
            Self::Null => out.write_str("null"),
        }
    }
}

/// A string in the quotes that it does not contain: a parsed one never contains both.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('"') { '\'' } else { '"' };
        write!(out, "{quote}{}{quote}", self.0)
    }
}
