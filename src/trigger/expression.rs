//! The syntax tree of a trigger: paths split, globs compiled, numbers parsed.

use super::glob::Glob;
use crate::json::Text;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    /// All hold; two or more.
    All(Vec<Expression>),
    /// At least one holds; two or more.
    Any(Vec<Expression>),
    /// It does not hold.
    Not(Box<Expression>),
    /// One condition.
    Condition(Condition),
}

/// One condition: an operand and its test.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) operand: Operand,
    pub(super) test: Test,
}

/// The test of an operand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// `= literal`.
    Equal(Literal),
    /// `!= literal`: not always the opposite of `=`.
    Unequal(Literal),
    /// `< number` and its like.
    Order(Order, f64),
    /// `in [ … ]`.
    In(Vec<Literal>),
    /// `contains(operand, "…")`, or with a `!` before it.
    Contains { part: String, negated: bool },
    /// `match(operand, "…")`, or with a `!` before it.
    Match { glob: Glob, negated: bool },
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    /// The operator.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(Text<'static>),
    Number(f64),
    Bool(bool),
    Null,
}

/// A field of the event, as it is or through a function.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    pub(super) function: Option<Function>,
    pub(super) path: Path,
}

/// A function of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// A list's items or a string's bytes; 0 for null.
    Length,
    Lowercase,
    Uppercase,
    /// `string`, `number`, `bool`, `list`, `object` or `null`.
    TypeOf,
}

impl Function {
    /// Every function.
    pub(super) const ALL: [Self; 4] =
        [Self::Length, Self::Lowercase, Self::Uppercase, Self::TypeOf];

    /// Its name.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
            Self::TypeOf => "typeof",
        }
    }
}

/// The way to a field: one step or more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Path(pub(super) Vec<String>);
