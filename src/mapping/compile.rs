//! Compiles a mapping's JSON to nodes: the syntax of each directive and its options. Constant parts are
//! evaluated here, once. An option that the directive does not have is a fault: a misspelt one would
//! have no effect.

use serde_json::{Map, Value as Json};

use super::compiler::{Compiler, Syntax};
use super::directive::{Change, Condition, Node};
use super::location::Location;
use super::objects::Flattening;
use super::path::Path;
use super::replace::{MAX_UNITS, Replacement, units_of};
use super::template::Template;
use crate::json::{Object, Text, Value};

/// Compiles a field of the mapping.
pub(super) fn field(compiler: &mut Compiler, location: Location, json: &Json) -> Node {
    compiler.enter(location);
    compile_value(compiler, json)
}

/// A value: a directive, or JSON that may contain directives.
fn compile_value(compiler: &mut Compiler, json: &Json) -> Node {
    if !compiler.admits_value() {
        return Node::Missing;
    }
    match json {
        Json::Null => Node::Fixed(Value::Null),
        Json::Bool(bool) => Node::Fixed(Value::Bool(*bool)),
        Json::Number(number) => Node::Fixed(number.as_f64().map_or(Value::Null, Value::Number)),
        Json::String(text) => Node::Fixed(Value::string(text.clone())),
        Json::Array(items) => {
            let items = items.iter().enumerate();
            let nodes =
                items.map(|(index, item)| compiler.at_index(index, |it| compile_value(it, item)));
            array(nodes.collect())
        }
        Json::Object(_) => match compiler.syntax(json) {
            Syntax::Directive(name, argument) => {
                compiler.at_key(name, |it| directive_by_name(it, name, argument))
            }
            Syntax::Object(fields) => {
                let fields = fields.iter().map(|(key, json)| {
                    (Text::from(key.clone()), compiler.at_key(key, |it| compile_value(it, json)))
                });
                object(fields.collect())
            }
            Syntax::Other | Syntax::Invalid => Node::Missing,
        },
    }
}

/// An object; constant when none of its fields depends on the event.
fn object(fields: Vec<(Text<'static>, Node)>) -> Node {
    if !fields.iter().all(|(_, node)| matches!(node, Node::Fixed(_))) {
        return Node::Object(Object::from_literal(fields));
    }
    let fields = fields.into_iter().filter_map(|(key, node)| Some((key, fixed(node)?)));
    Node::Fixed(Value::Object(Object::from_literal(fields.collect())))
}

/// An array; constant when none of its items depends on the event.
fn array(items: Vec<Node>) -> Node {
    if !items.iter().all(|node| matches!(node, Node::Fixed(_))) {
        return Node::Array(items);
    }
    Node::Fixed(Value::Array(items.into_iter().filter_map(fixed).collect()))
}

fn fixed(node: Node) -> Option<Value<'static>> {
    if let Node::Fixed(value) = node { Some(value) } else { None }
}

/// Compiles a directive's argument.
fn directive_by_name(compiler: &mut Compiler, name: &str, json: &Json) -> Node {
    match name {
        "@path" => path(compiler, json),
        "@template" => template(compiler, json),
        "@literal" => compile_value(compiler, json),
        "@if" => with_options(compiler, json, condition),
        "@case" => with_options(compiler, json, case),
        "@replace" => with_options(compiler, json, replace),
        "@arrayPath" => array_path(compiler, json),
        "@merge" => with_options(compiler, json, merge),
        "@transform" => with_options(compiler, json, transform),
        "@json" => with_options(compiler, json, encode_or_decode),
        "@flatten" => with_options(compiler, json, flatten),
        "@excludeWhenNull" => changed(compile_value(compiler, json), Change::ExcludeWhenNull),
        "@liquid" => {
            compiler.fault(
                "Liquid templates are not supported: use @template, @if, @case or @replace, \
                 or an insert function",
            );
            Node::Missing
        }
        _ => {
            compiler.fault(format!(
                "there is no directive {name} (there are @path, @template, @literal, @if, @case, \
                 @replace, @arrayPath, @merge, @transform, @json, @flatten and @excludeWhenNull)"
            ));
            Node::Missing
        }
    }
}

fn path(compiler: &mut Compiler, json: &Json) -> Node {
    if let Json::String(text) = json {
        return Node::Path(Path::parse(text));
    }
    match directive(compiler, json, "should be a path such as \"$.userId\"") {
        Some(node) => Node::PathFrom(Box::new(node)),
        None => Node::Missing,
    }
}

fn template(compiler: &mut Compiler, json: &Json) -> Node {
    if let Json::String(text) = json {
        let template = Template::compile(&Text::from_plain(text), compiler.url_values());
        return match template.fixed() {
            Some(text) => Node::Fixed(Value::String(text)),
            None => Node::Template(template),
        };
    }
    match directive(compiler, json, "should be text such as \"Hello {{traits.name}}\"") {
        Some(node) => Node::TemplateFrom(Box::new(node), compiler.url_values()),
        None => Node::Missing,
    }
}

/// A directive; anything else is a fault.
fn directive(compiler: &mut Compiler, json: &Json, expected: &str) -> Option<Node> {
    match compiler.syntax(json) {
        Syntax::Directive(..) => Some(compile_value(compiler, json)),
        Syntax::Object(_) | Syntax::Other => {
            compiler.fault(format!("{expected}, or a directive that gives one"));
            None
        }
        Syntax::Invalid => None,
    }
}

/// A directive or a string; anything else is a fault. An empty string is no value, as in JavaScript.
fn directive_or_text(compiler: &mut Compiler, json: &Json) -> Node {
    match json.as_str() {
        Some("") => Node::Missing,
        Some(_) => compile_value(compiler, json),
        None => directive(compiler, json, "should be text").unwrap_or(Node::Missing),
    }
}

/// A directive or an object; anything else is a fault.
fn directive_or_object(compiler: &mut Compiler, json: &Json) -> Node {
    if json.is_object() {
        return compile_value(compiler, json);
    }
    compiler.fault("should be an object or a directive");
    Node::Missing
}

/// A directive's options.
struct Options<'j> {
    given: &'j Map<String, Json>,
    known: Vec<&'static str>,
}

fn with_options(
    compiler: &mut Compiler,
    json: &Json,
    compile: fn(&mut Compiler, &mut Options<'_>) -> Node,
) -> Node {
    match compiler.syntax(json) {
        Syntax::Object(given) => {
            let mut options = Options { given, known: vec!["_metadata"] };
            let node = compile(compiler, &mut options);
            for key in given.keys().filter(|key| !options.known.contains(&key.as_str())) {
                let known = options.known[1..].join(", ");
                let message = format!("is no option here (there are {known})");
                compiler.at_key(key, |it| it.fault(message));
            }
            node
        }
        Syntax::Directive(..) | Syntax::Other => {
            compiler.fault("should be an object with the directive's options");
            Node::Missing
        }
        Syntax::Invalid => Node::Missing,
    }
}

impl<'j> Options<'j> {
    /// An option; none when it is left out.
    fn get<T>(
        &mut self,
        compiler: &mut Compiler,
        key: &'static str,
        read: impl FnOnce(&mut Compiler, &'j Json) -> T,
    ) -> Option<T> {
        self.known.push(key);
        let json = self.given.get(key)?;
        Some(compiler.at_key(key, |it| read(it, json)))
    }

    /// A required option.
    fn required<T>(
        &mut self,
        compiler: &mut Compiler,
        key: &'static str,
        read: impl FnOnce(&mut Compiler, &'j Json) -> Option<T>,
    ) -> Option<T> {
        match self.get(compiler, key, read) {
            Some(read) => read,
            None => {
                compiler.at_key(key, |it| it.fault("is needed"));
                None
            }
        }
    }

    fn required_node(&mut self, compiler: &mut Compiler, key: &'static str) -> Node {
        let node = self.required(compiler, key, |it, json| {
            if is_falsy(json) {
                it.fault("should be a value that is not empty, zero, false or null");
                return None;
            }
            Some(compile_value(it, json))
        });
        node.unwrap_or(Node::Missing)
    }

    /// A required option with two choices.
    fn required_choice(
        &mut self,
        compiler: &mut Compiler,
        key: &'static str,
        choices: [&'static str; 2],
    ) -> Option<&'static str> {
        self.required(compiler, key, |it, json| {
            let choice = choices.into_iter().find(|choice| json.as_str() == Some(choice));
            if choice.is_none() {
                it.fault(format!("should be \"{}\" or \"{}\", not {json}", choices[0], choices[1]));
            }
            choice
        })
    }

    /// A boolean option with its default.
    fn flag(&mut self, compiler: &mut Compiler, key: &'static str, default: bool) -> bool {
        let flag = self.get(compiler, key, |it, json| {
            if json.as_bool().is_none() {
                it.fault(format!("should be true or false, not {json}"));
            }
            json.as_bool().unwrap_or(default)
        });
        flag.unwrap_or(default)
    }

    /// Text of at most [`MAX_UNITS`]; none when it is left out.
    fn short_text(&mut self, compiler: &mut Compiler, key: &'static str) -> Option<&'j str> {
        let text = self.get(compiler, key, |it, json| {
            let text = json.as_str();
            if text.is_none() {
                it.fault("should be text");
            } else if text.is_some_and(|text| units_of(text) > MAX_UNITS) {
                it.fault(format!("should have at most {MAX_UNITS} characters"));
            }
            text
        });
        text.flatten()
    }
}

fn is_falsy(json: &Json) -> bool {
    match json {
        Json::Null => true,
        Json::Bool(bool) => !bool,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        Json::Array(_) | Json::Object(_) => false,
    }
}

fn condition(compiler: &mut Compiler, options: &mut Options<'_>) -> Node {
    let given = options.given;
    let exists = options.get(compiler, "exists", compile_value);
    let blank = options.get(compiler, "blank", compile_value);
    let is_set = |key| given.get(key).is_some_and(|json| !is_falsy(json));
    if !is_set("exists") && !is_set("blank") {
        compiler.fault("needs exists or blank, with the value to look at");
    }
    let then = options.get(compiler, "then", compile_value).unwrap_or(Node::Missing);
    // A falsy `else` gives nothing, as in Segment.
    let otherwise = options.get(compiler, "else", |it, json| {
        let node = compile_value(it, json);
        if is_falsy(json) { Node::Missing } else { node }
    });
    let unless_blank = exists.is_none();
    Node::If(Box::new(Condition {
        subject: exists.or(blank).unwrap_or(Node::Missing),
        unless_blank,
        then,
        otherwise: otherwise.unwrap_or(Node::Missing),
    }))
}

fn case(compiler: &mut Compiler, options: &mut Options<'_>) -> Node {
    let operator = options.required_choice(compiler, "operator", ["upper", "lower"]);
    let value = options.get(compiler, "value", directive_or_text).unwrap_or(Node::Missing);
    changed(value, Change::Case { upper: operator == Some("upper") })
}

fn replace(compiler: &mut Compiler, options: &mut Options<'_>) -> Node {
    let pattern = options.required(compiler, "pattern", |it, json| match json.as_str() {
        Some(text) if (1..=MAX_UNITS).contains(&units_of(text)) => Some(text),
        _ => {
            it.fault(format!("should be text of 1 to {MAX_UNITS} characters"));
            None
        }
    });
    let replacement = options.short_text(compiler, "replacement").unwrap_or_default();
    let pattern2 = options.short_text(compiler, "pattern2").filter(|text| !text.is_empty());
    let replacement2 = options.short_text(compiler, "replacement2").unwrap_or_default();
    let every = options.flag(compiler, "global", true);
    let ignore_case = options.flag(compiler, "ignorecase", false);
    let value = options.required(compiler, "value", |it, json| Some(directive_or_text(it, json)));
    let replacements = [(pattern, replacement), (pattern2, replacement2)];
    let replacements = replacements.into_iter().filter_map(|(pattern, replacement)| {
        pattern.map(|pattern| Replacement::new(pattern, replacement, every, ignore_case))
    });
    // An empty `value` gives nothing, as in Segment; a directive that gives nothing becomes empty text.
    if options.given.get("value").is_some_and(is_falsy) {
        return Node::Missing;
    }
    changed(value.unwrap_or(Node::Missing), Change::Replace(replacements.collect()))
}

fn array_path(compiler: &mut Compiler, json: &Json) -> Node {
    let Json::Array(items) = json else {
        compiler.fault("should be an array: a path and, if wanted, the shape of each item");
        return Node::Missing;
    };
    if !(1..=2).contains(&items.len()) {
        compiler.fault(format!("should have a path and a shape, not {} items", items.len()));
        return Node::Missing;
    }
    let root = compiler.at_index(0, |it| match items[0].as_str() {
        Some(text) => Node::Path(Path::parse(text)),
        None => directive(it, &items[0], "should be a path such as \"$.properties.products\"")
            .unwrap_or(Node::Missing),
    });
    // Null and an empty object leave the items as they are, as in Segment.
    let shape = items.get(1).filter(|json| !json.is_null()).and_then(|json| {
        compiler.at_index(1, |it| match json.as_object() {
            Some(fields) if fields.is_empty() => None,
            Some(_) => Some(Box::new(compile_value(it, json))),
            None => {
                it.fault("should be an object: the shape of each item");
                None
            }
        })
    });
    Node::ArrayPath { root: Box::new(root), shape }
}

fn merge(compiler: &mut Compiler, options: &mut Options<'_>) -> Node {
    let direction = options.required_choice(compiler, "direction", ["left", "right"]);
    let objects = options.required(compiler, "objects", |it, json| {
        let Json::Array(items) = json else {
            it.fault("should be an array of objects and directives");
            return None;
        };
        let items = items.iter().enumerate();
        let nodes =
            items.map(|(index, item)| it.at_index(index, |it| directive_or_object(it, item)));
        Some(nodes.collect::<Vec<_>>())
    });
    let mut objects = objects.unwrap_or_default();
    if direction == Some("left") {
        objects.reverse();
    }
    Node::Merge(objects)
}

fn transform(compiler: &mut Compiler, options: &mut Options<'_>) -> Node {
    let mut required =
        |key| options.required(compiler, key, |it, json| Some(directive_or_object(it, json)));
    let apply = required("apply").unwrap_or(Node::Missing);
    let mapping = required("mapping").unwrap_or(Node::Missing);
    Node::Transform { apply: Box::new(apply), mapping: Box::new(mapping) }
}

fn encode_or_decode(compiler: &mut Compiler, options: &mut Options<'_>) -> Node {
    let mode = options.required_choice(compiler, "mode", ["encode", "decode"]);
    let value = options.required_node(compiler, "value");
    changed(value, if mode == Some("encode") { Change::Encode } else { Change::Decode })
}

fn flatten(compiler: &mut Compiler, options: &mut Options<'_>) -> Node {
    let separator = options.required(compiler, "separator", |it, json| match json.as_str() {
        Some(text) if !text.is_empty() => Some(text.to_owned()),
        _ => {
            it.fault("should be text that is not empty");
            None
        }
    });
    let omit_arrays = options.flag(compiler, "omitArrays", false);
    let value = options.required(compiler, "value", |it, json| Some(compile_value(it, json)));
    let separator = Text::from(separator.unwrap_or_default());
    let flattening = Flattening { separator, omit_arrays };
    changed(value.unwrap_or(Node::Missing), Change::Flatten(flattening))
}

fn changed(node: Node, by: Change) -> Node {
    Node::Change { of: Box::new(node), by }
}
