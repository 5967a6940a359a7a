//! The state of a mapping's compilation: the current location, the faults found so far, the limits on
//! size and depth, and the syntax that tells a directive from an object.

use serde_json::{Map, Value as Json};

use super::error::Fault;
use super::location::Location;
use crate::domain::mapping::UrlValues;

/// How deep a mapping may be nested.
pub(super) const MAX_DEPTH: usize = 64;
/// How many values the url, the headers and the data may have together.
const MAX_VALUES: usize = 20_000;
/// The one key that may stand beside a directive.
const METADATA: &str = "_metadata";

/// Compiles one mapping.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    location: Location,
    faults: Vec<Fault>,
    values: usize,
    /// How values stand in templates, where a URL is compiled.
    url: Option<UrlValues>,
}

/// The syntax of a value.
pub(super) enum Syntax<'j> {
    /// A directive: its name and its argument.
    Directive(&'j str, &'j Json),
    /// An object that is not a directive.
    Object(&'j Map<String, Json>),
    /// Anything else.
    Other,
    /// Not valid; the fault is recorded.
    Invalid,
}

impl Compiler {
    /// Goes to a field of the mapping.
    pub(super) fn enter(&mut self, location: Location) {
        self.location = location;
    }

    /// Compiles a URL from here on, or with none something else.
    pub(super) const fn enter_url(&mut self, values: Option<UrlValues>) {
        self.url = values;
    }

    /// How values stand in a template at this location; none: it gives no URL.
    pub(super) const fn url_values(&self) -> Option<UrlValues> {
        self.url
    }

    /// The faults of everything compiled so far.
    pub(super) fn faults(self) -> Vec<Fault> {
        self.faults
    }

    pub(super) fn fault(&mut self, message: impl Into<String>) {
        self.faults.push(Fault::new(self.location.to_string(), message));
    }

    pub(super) fn at_key<T>(&mut self, key: &str, compile: impl FnOnce(&mut Self) -> T) -> T {
        self.location.push_key(key);
        let compiled = compile(self);
        self.location.pop();
        compiled
    }

    pub(super) fn at_index<T>(&mut self, index: usize, compile: impl FnOnce(&mut Self) -> T) -> T {
        self.location.push_index(index);
        let compiled = compile(self);
        self.location.pop();
        compiled
    }

    /// Counts a value against the limits on size and depth; false when one is exceeded.
    pub(super) fn admits_value(&mut self) -> bool {
        self.values += 1;
        if self.values == MAX_VALUES {
            self.fault(format!("is too much: a mapping has at most {MAX_VALUES} values"));
        }
        if self.values >= MAX_VALUES {
            return false;
        }
        if self.location.depth() > MAX_DEPTH {
            self.fault(format!("is nested deeper than {MAX_DEPTH} levels"));
            return false;
        }
        true
    }

    /// An object with a key that starts with `@` is a directive, or a fault.
    pub(super) fn syntax<'j>(&mut self, json: &'j Json) -> Syntax<'j> {
        let Json::Object(fields) = json else { return Syntax::Other };
        let names: Vec<&String> = fields.keys().filter(|key| key.starts_with('@')).collect();
        match names.as_slice() {
            [] => Syntax::Object(fields),
            [name] => {
                let other = fields.keys().find(|key| *key != *name && *key != METADATA);
                if let Some(key) = other {
                    self.fault(format!(
                        "{name} stands alone in its object: move {key:?} out of it"
                    ));
                    return Syntax::Invalid;
                }
                Syntax::Directive(name, &fields[name.as_str()])
            }
            several => {
                let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                self.fault(format!("should have one directive, not {}", names.join(" and ")));
                Syntax::Invalid
            }
        }
    }
}
