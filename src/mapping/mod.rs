//! Mappings made runnable: compiled once per revision, rendered once per attempt. What a mapping
//! says and cannot mean is refused here when it is saved, every fault with its path.

mod compile;
mod directive;
mod error;
mod form;
mod options;
mod path;
mod place;
mod print;
mod replace;
mod request;
mod reshape;
mod template;
mod value;
mod words;

use bytes::Bytes;
use http::header::HeaderMap;
use url::Url;

use self::compile::Compiler;
use self::directive::Node;
use self::error::{Allowance, MAX_BODY};
use self::place::Place;
use self::request::{Headers, Target};
use self::value::{Made, Shape, View};
use crate::domain::mapping::{MappingDefinition, Method};
use crate::json;
use crate::trigger::Trigger;

pub use error::{Misfit, Why};

/// What is wrong with a mapping, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The field, as in `headers.X-Team`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl Fault {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// A mapping revision ready to match and render.
#[derive(Clone, Debug)]
pub struct CompiledMapping {
    trigger: Trigger,
    method: http::Method,
    target: Target,
    headers: Headers,
    /// None: the whole event.
    data: Option<Node>,
}

/// A request made from an event; its signature is still to come.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The HTTP method.
    pub method: http::Method,
    /// Where to.
    pub url: Url,
    /// The mapping's headers and those it may override, without the signature's.
    pub headers: HeaderMap,
    /// The exact bytes of the body.
    pub body: Bytes,
}

impl Rendered {
    /// Whether the body is a form, and so cannot stand in an array with others.
    #[must_use]
    pub fn is_form(&self) -> bool {
        request::is_form(&self.headers)
    }
}

/// Why an event cannot be rendered; the delivery is dead with reason `render`.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The document is not JSON; none such is ever made.
    #[error("the event cannot be read")]
    Document(#[source] json::ParseError),
    /// The mapping makes nothing of it that could be sent.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

impl RenderError {
    /// The field of the mapping, as in `data.user.name`; none where the event itself is at fault.
    #[must_use]
    pub fn path(&self) -> Option<String> {
        match self {
            Self::Document(_) => None,
            Self::Misfit(misfit) => Some(misfit.path()),
        }
    }
}

impl CompiledMapping {
    /// Compiles what a mapping says.
    ///
    /// # Errors
    /// All faults at once.
    pub fn compile(definition: &MappingDefinition) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let trigger = Trigger::parse(&definition.trigger)
            .map_err(|error| faults.push(Fault::new("trigger", error.to_string())))
            .ok();
        let mut compiler = Compiler::default();
        let target = Target::compile(&definition.url, &mut compiler, &mut faults);
        let headers = Headers::compile(&definition.headers, &mut compiler, &mut faults);
        let data = definition.data.as_ref().map(|json| {
            let node = compiler.field(Place::of("data"), json);
            let fixed = if let Node::Fixed(value) = &node { Some(value) } else { None };
            if !json.is_object() || fixed.is_some_and(|value| value.as_object().is_none()) {
                faults
                    .push(Fault::new("data", "should be an object or a directive that gives one"));
            }
            node
        });
        faults.extend(compiler.faults());
        match (trigger, target) {
            (Some(trigger), Some(target)) if faults.is_empty() => {
                let method = match definition.method {
                    Method::Post => http::Method::POST,
                    Method::Put => http::Method::PUT,
                    Method::Patch => http::Method::PATCH,
                };
                Ok(Self { trigger, method, target, headers, data })
            }
            _ => Err(faults),
        }
    }

    /// Whether the mapping wants an event, by the event's document.
    #[must_use]
    pub fn matches(&self, document: &json::Value<'_>) -> bool {
        self.trigger.matches(document)
    }

    /// The URL, where it does not depend on the event.
    #[must_use]
    pub const fn fixed_url(&self) -> Option<&Url> {
        match &self.target {
            Target::Fixed(url) => Some(url),
            Target::FromEvent(_) => None,
        }
    }

    /// Whether bodies are forms, where that does not depend on the event.
    #[must_use]
    pub fn is_form(&self) -> bool {
        request::is_form(self.headers.fixed())
    }

    /// Makes the request for an event's document, which is JSON as `JSON.stringify` prints it.
    ///
    /// # Errors
    /// [`RenderError`] when the event gives none.
    pub fn render(&self, document: &Bytes) -> Result<Rendered, RenderError> {
        if let (Target::Fixed(url), None, true) = (&self.target, &self.data, self.takes_it_whole())
        {
            return Ok(Rendered {
                method: self.method.clone(),
                url: url.clone(),
                headers: self.headers.fixed().clone(),
                body: document.clone(),
            });
        }
        let event = json::parse(document).map_err(RenderError::Document)?;
        let (event, mut allowance) = (View::Value(&event), Allowance::new());
        let url = self.target.render(event, &mut allowance);
        let url = url.map_err(|misfit| misfit.under("url"))?;
        let headers = self.headers.render(event, &mut allowance);
        let headers = headers.map_err(|misfit| misfit.under("headers"))?;
        let form = request::is_form(&headers);
        let body = match &self.data {
            None if !form => Ok(document.clone()),
            None => body(&Made::View(event), form, &mut allowance),
            Some(node) => {
                let made = node.evaluate(event, &mut allowance);
                made.and_then(|made| body(&made, form, &mut allowance))
            }
        };
        let body = body.map_err(|misfit| misfit.under("data"))?;
        Ok(Rendered { method: self.method.clone(), url, headers, body })
    }

    /// Whether the event's bytes are the body and its headers are fixed: then there is no need to
    /// read it.
    fn takes_it_whole(&self) -> bool {
        self.data.is_none() && self.headers.are_fixed() && !self.headers.are_of_a_form()
    }
}

fn body(made: &Made<'_>, form: bool, allowance: &mut Allowance) -> Result<Bytes, Misfit> {
    let view = made.view();
    let Shape::Object(fields) = view.shape() else {
        return Err(Why::NotAnObject(view.shape().name()).into());
    };
    if form {
        return Ok(Bytes::from(form::encode(fields, allowance)?));
    }
    Ok(Bytes::from(print::print(view, MAX_BODY)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn faults(definition: Value) -> Vec<String> {
        let definition: MappingDefinition =
            serde_json::from_value(definition).expect("well-formed");
        match CompiledMapping::compile(&definition) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.into_iter().map(|fault| fault.path).collect(),
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let definition = json!({
            "trigger": "type",
            "url": "ftp://example.com/",
            "headers": {"Host": "a", "Webhook-Id": "b", "X": "line\nbreak", "Y": "é", "Z": {"@path": []}, "a b": "c"},
            "data": [{"@path": 1}, {"a": {"@nope": 1}}],
        });
        assert_eq!(
            faults(definition),
            [
                "trigger",
                "url",
                "headers.Host",
                "headers.Webhook-Id",
                "headers.X",
                "headers.Y",
                "headers.a b",
                "data",
                "headers.Z.@path",
                "data[0].@path",
                "data[1].a.@nope"
            ]
        );
    }

    #[test]
    fn a_plain_mapping_has_none() {
        let definition = json!({"url": "https://example.com/a?b=c", "method": "PUT", "headers": {"X-Team": "growth"}});
        assert_eq!(faults(definition), Vec::<String>::new());
        assert_eq!(faults(json!({"url": "https://user:pass@example.com/"})), ["url"]);
    }
}
