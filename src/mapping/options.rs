//! How each directive is written: its options, what they may be, and what is refused. Options are
//! refused that the directive does not know: a misspelt one would silently do nothing.

use serde_json::{Map, Value as Json};

use super::compile::{Compiler, Form};
use super::directive::{Change, Condition, Node};
use super::path::Path;
use super::replace::{MAX_UNITS, Swap, units_of};
use super::reshape::Flattening;
use super::template::Template;
use crate::json::{Text, Value};

/// Compiles what stands under a directive's name.
pub(super) fn compile(compiler: &mut Compiler, name: &str, json: &Json) -> Node {
    match name {
        "@path" => path(compiler, json),
        "@template" => template(compiler, json),
        "@literal" => compiler.node(json),
        "@if" => with_options(compiler, json, condition),
        "@case" => with_options(compiler, json, case),
        "@replace" => with_options(compiler, json, replace),
        "@arrayPath" => array_path(compiler, json),
        "@merge" => with_options(compiler, json, merge),
        "@transform" => with_options(compiler, json, transform),
        "@json" => with_options(compiler, json, encode_or_decode),
        "@flatten" => with_options(compiler, json, flatten),
        "@excludeWhenNull" => changed(compiler.node(json), Change::ExcludeWhenNull),
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
        let template = Template::compile(&Text::from_plain(text));
        return match template.fixed() {
            Some(text) => Node::Fixed(Value::String(text)),
            None => Node::Template(template),
        };
    }
    match directive(compiler, json, "should be text such as \"Hello {{traits.name}}\"") {
        Some(node) => Node::TemplateFrom(Box::new(node)),
        None => Node::Missing,
    }
}

/// A directive; anything else is a fault.
fn directive(compiler: &mut Compiler, json: &Json, wanted: &str) -> Option<Node> {
    match compiler.form(json) {
        Form::Directive(..) => Some(compiler.node(json)),
        Form::Object(_) | Form::Other => {
            compiler.fault(format!("{wanted}, or a directive that gives one"));
            None
        }
        Form::Faulty => None,
    }
}

/// A directive or a string; anything else is a fault. JavaScript takes no text for no value.
fn directive_or_text(compiler: &mut Compiler, json: &Json) -> Node {
    match json.as_str() {
        Some("") => Node::Missing,
        Some(_) => compiler.node(json),
        None => directive(compiler, json, "should be text").unwrap_or(Node::Missing),
    }
}

/// A directive or an object; anything else is a fault.
fn directive_or_object(compiler: &mut Compiler, json: &Json) -> Node {
    if json.is_object() {
        return compiler.node(json);
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
    match compiler.form(json) {
        Form::Object(given) => {
            let mut options = Options { given, known: vec!["_metadata"] };
            let node = compile(compiler, &mut options);
            for key in given.keys().filter(|key| !options.known.contains(&key.as_str())) {
                let known = options.known[1..].join(", ");
                let message = format!("is no option here (there are {known})");
                compiler.at_key(key, |it| it.fault(message));
            }
            node
        }
        Form::Directive(..) | Form::Other => {
            compiler.fault("should be an object with the directive's options");
            Node::Missing
        }
        Form::Faulty => Node::Missing,
    }
}

impl<'j> Options<'j> {
    /// An option, or none where it is left out.
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

    /// An option that cannot be left out.
    fn need<T>(
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

    fn need_node(&mut self, compiler: &mut Compiler, key: &'static str) -> Node {
        let node = self.need(compiler, key, |it, json| {
            if is_falsy(json) {
                it.fault("should be a value that is not empty, zero, false or null");
                return None;
            }
            Some(it.node(json))
        });
        node.unwrap_or(Node::Missing)
    }

    /// One of some words.
    fn need_word(
        &mut self,
        compiler: &mut Compiler,
        key: &'static str,
        words: [&'static str; 2],
    ) -> Option<&'static str> {
        self.need(compiler, key, |it, json| {
            let word = words.into_iter().find(|word| json.as_str() == Some(word));
            if word.is_none() {
                it.fault(format!("should be \"{}\" or \"{}\", not {json}", words[0], words[1]));
            }
            word
        })
    }

    /// True or false; left out, the default.
    fn flag(&mut self, compiler: &mut Compiler, key: &'static str, default: bool) -> bool {
        let flag = self.get(compiler, key, |it, json| {
            if json.as_bool().is_none() {
                it.fault(format!("should be true or false, not {json}"));
            }
            json.as_bool().unwrap_or(default)
        });
        flag.unwrap_or(default)
    }

    /// Text of at most [`MAX_UNITS`]; none where it is left out.
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
    let exists = options.get(compiler, "exists", Compiler::node);
    let blank = options.get(compiler, "blank", Compiler::node);
    let says = |key| given.get(key).is_some_and(|json| !is_falsy(json));
    if !says("exists") && !says("blank") {
        compiler.fault("needs exists or blank, with the value to look at");
    }
    let then = options.get(compiler, "then", Compiler::node).unwrap_or(Node::Missing);
    // A falsy `else` gives nothing, as in Segment.
    let otherwise = options.get(compiler, "else", |it, json| {
        let node = it.node(json);
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
    let operator = options.need_word(compiler, "operator", ["upper", "lower"]);
    let value = options.get(compiler, "value", directive_or_text).unwrap_or(Node::Missing);
    changed(value, Change::Case { upper: operator == Some("upper") })
}

fn replace(compiler: &mut Compiler, options: &mut Options<'_>) -> Node {
    let pattern = options.need(compiler, "pattern", |it, json| match json.as_str() {
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
    let value = options.need(compiler, "value", |it, json| Some(directive_or_text(it, json)));
    let swaps = [(pattern, replacement), (pattern2, replacement2)];
    let swaps = swaps.into_iter().filter_map(|(pattern, replacement)| {
        pattern.map(|pattern| Swap::new(pattern, replacement, every, ignore_case))
    });
    // Text left empty is no value at all, as in Segment; what a directive gives none for becomes
    // empty text.
    if options.given.get("value").is_some_and(is_falsy) {
        return Node::Missing;
    }
    changed(value.unwrap_or(Node::Missing), Change::Replace(swaps.collect()))
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
    // Null and an object that asks for nothing leave the items as they are, as in Segment.
    let shape = items.get(1).filter(|json| !json.is_null()).and_then(|json| {
        compiler.at_index(1, |it| match json.as_object() {
            Some(fields) if fields.is_empty() => None,
            Some(_) => Some(Box::new(it.node(json))),
            None => {
                it.fault("should be an object: the shape of each item");
                None
            }
        })
    });
    Node::ArrayPath { root: Box::new(root), shape }
}

fn merge(compiler: &mut Compiler, options: &mut Options<'_>) -> Node {
    let direction = options.need_word(compiler, "direction", ["left", "right"]);
    let objects = options.need(compiler, "objects", |it, json| {
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
    let mut need =
        |key| options.need(compiler, key, |it, json| Some(directive_or_object(it, json)));
    let apply = need("apply").unwrap_or(Node::Missing);
    let mapping = need("mapping").unwrap_or(Node::Missing);
    Node::Transform { apply: Box::new(apply), mapping: Box::new(mapping) }
}

fn encode_or_decode(compiler: &mut Compiler, options: &mut Options<'_>) -> Node {
    let mode = options.need_word(compiler, "mode", ["encode", "decode"]);
    let value = options.need_node(compiler, "value");
    changed(value, if mode == Some("encode") { Change::Encode } else { Change::Decode })
}

fn flatten(compiler: &mut Compiler, options: &mut Options<'_>) -> Node {
    let separator = options.need(compiler, "separator", |it, json| match json.as_str() {
        Some(text) if !text.is_empty() => Some(text.to_owned()),
        _ => {
            it.fault("should be text that is not empty");
            None
        }
    });
    let omit_arrays = options.flag(compiler, "omitArrays", false);
    let value = options.need(compiler, "value", |it, json| Some(it.node(json)));
    let separator = Text::from(separator.unwrap_or_default());
    let flattening = Flattening { separator, omit_arrays };
    changed(value.unwrap_or(Node::Missing), Change::Flatten(flattening))
}

fn changed(node: Node, by: Change) -> Node {
    Node::Change { of: Box::new(node), by }
}
