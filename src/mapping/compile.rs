//! From what a mapping says to directives that run: every fault is named with its place, and what
//! does not depend on the event is worked out here, once. How each directive is written is in
//! `options`.

use serde_json::{Map, Value as Json};

use super::directive::Node;
use super::place::Place;
use super::{Fault, options};
use crate::json::{Object, Text, Value};

/// How deep a mapping may be nested.
pub(super) const MAX_DEPTH: usize = 64;
/// How many values the url, the headers and the data may have together.
const MAX_VALUES: usize = 20_000;
/// What names a directive without being one.
const METADATA: &str = "_metadata";

/// Compiles the parts of one mapping.
#[derive(Debug, Default)]
pub(super) struct Compiler {
    place: Place,
    faults: Vec<Fault>,
    values: usize,
}

/// What a value in a mapping is.
pub(super) enum Form<'j> {
    /// A directive: its name and what it says.
    Directive(&'j str, &'j Json),
    /// An object that is no directive.
    Object(&'j Map<String, Json>),
    /// Anything else.
    Other,
    /// Neither; the fault is told.
    Faulty,
}

impl Compiler {
    /// Compiles a field of the mapping.
    pub(super) fn field(&mut self, place: Place, json: &Json) -> Node {
        self.place = place;
        self.node(json)
    }

    /// The faults of all that was compiled.
    pub(super) fn faults(self) -> Vec<Fault> {
        self.faults
    }

    pub(super) fn fault(&mut self, message: impl Into<String>) {
        self.faults.push(Fault::new(self.place.to_string(), message));
    }

    pub(super) fn at_key<T>(&mut self, key: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        self.place.enter_key(key);
        let done = work(self);
        self.place.leave();
        done
    }

    pub(super) fn at_index<T>(&mut self, index: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        self.place.enter_index(index);
        let done = work(self);
        self.place.leave();
        done
    }

    /// A value: a directive, or JSON that may have directives in it.
    pub(super) fn node(&mut self, json: &Json) -> Node {
        self.values += 1;
        if self.values == MAX_VALUES {
            self.fault(format!("is too much: a mapping has at most {MAX_VALUES} values"));
        }
        if self.values >= MAX_VALUES {
            return Node::Missing;
        }
        if self.place.depth() > MAX_DEPTH {
            self.fault(format!("is nested deeper than {MAX_DEPTH} levels"));
            return Node::Missing;
        }
        match json {
            Json::Null => Node::Fixed(Value::Null),
            Json::Bool(bool) => Node::Fixed(Value::Bool(*bool)),
            Json::Number(number) => Node::Fixed(number.as_f64().map_or(Value::Null, Value::Number)),
            Json::String(text) => Node::Fixed(Value::string(text.clone())),
            Json::Array(items) => {
                let items = items.iter().enumerate();
                let nodes = items.map(|(index, item)| self.at_index(index, |it| it.node(item)));
                array(nodes.collect())
            }
            Json::Object(_) => match self.form(json) {
                Form::Directive(name, inside) => {
                    self.at_key(name, |it| options::compile(it, name, inside))
                }
                Form::Object(fields) => self.object(fields),
                Form::Other | Form::Faulty => Node::Missing,
            },
        }
    }

    fn object(&mut self, fields: &Map<String, Json>) -> Node {
        let fields = fields
            .iter()
            .map(|(key, json)| (Text::from(key.clone()), self.at_key(key, |it| it.node(json))));
        object(fields.collect())
    }

    /// Tells directives from other values. An object with a key that starts with `@` is one, or a
    /// mistake.
    pub(super) fn form<'j>(&mut self, json: &'j Json) -> Form<'j> {
        let Json::Object(fields) = json else { return Form::Other };
        let names: Vec<&String> = fields.keys().filter(|key| key.starts_with('@')).collect();
        match names.as_slice() {
            [] => Form::Object(fields),
            [name] => {
                let beside = fields.keys().find(|key| *key != *name && *key != METADATA);
                if let Some(key) = beside {
                    self.fault(format!(
                        "{name} stands alone in its object: move {key:?} out of it"
                    ));
                    return Form::Faulty;
                }
                Form::Directive(name, &fields[name.as_str()])
            }
            several => {
                let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                self.fault(format!("should have one directive, not {}", names.join(" and ")));
                Form::Faulty
            }
        }
    }
}

/// An object; without anything in it that depends on the event, a value.
fn object(fields: Vec<(Text<'static>, Node)>) -> Node {
    if !fields.iter().all(|(_, node)| matches!(node, Node::Fixed(_))) {
        return Node::Object(Object::from_literal(fields));
    }
    let fields = fields.into_iter().filter_map(|(key, node)| Some((key, fixed(node)?)));
    Node::Fixed(Value::Object(Object::from_literal(fields.collect())))
}

/// An array; without anything in it that depends on the event, a value.
fn array(items: Vec<Node>) -> Node {
    if !items.iter().all(|node| matches!(node, Node::Fixed(_))) {
        return Node::Array(items);
    }
    Node::Fixed(Value::Array(items.into_iter().filter_map(fixed).collect()))
}

fn fixed(node: Node) -> Option<Value<'static>> {
    if let Node::Fixed(value) = node { Some(value) } else { None }
}
