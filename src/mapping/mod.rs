//! Mappings: compiled once per revision, rendered once per attempt. Compilation validates a mapping when
//! it is saved and reports every fault with its path.

mod budget;
mod compile;
mod compiler;
mod directive;
mod error;
mod form_urlencoded;
mod location;
mod objects;
mod path;
mod print;
mod replace;
mod request;
mod template;
mod to_string;
mod url_template;
mod value;

use bytes::Bytes;
use http::header::HeaderMap;
use url::Url;

use self::budget::{Budget, MAX_BODY};
use self::compiler::Compiler;
use self::directive::Node;
use self::location::Location;
use self::request::{Headers, Target};
use self::value::{Computed, Shape, View};
use crate::domain::mapping::{MappingDefinition, Method};
use crate::json;
use crate::trigger::Trigger;

pub use error::{ErrorKind, Fault, MappingError, RenderError};

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

/// A request rendered from an event, not signed yet.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The HTTP method.
    pub method: http::Method,
    /// The URL.
    pub url: Url,
    /// The mapping's headers and those it may override, without the signature's.
    pub headers: HeaderMap,
    /// The exact bytes of the body.
    pub body: Bytes,
}

impl Rendered {
    /// Whether the body is a form, which cannot be an item of a batch.
    #[must_use]
    pub fn is_form(&self) -> bool {
        request::is_form(&self.headers)
    }
}

impl CompiledMapping {
    /// Compiles a mapping.
    ///
    /// # Errors
    /// All faults at once.
    pub fn compile(definition: &MappingDefinition) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let trigger = Trigger::parse(&definition.trigger)
            .map_err(|error| faults.push(Fault::new("trigger", error.to_string())))
            .ok();
        let mut compiler = Compiler::default();
        let target =
            Target::compile(&definition.url, definition.url_values, &mut compiler, &mut faults);
        let headers = Headers::compile(&definition.headers, &mut compiler, &mut faults);
        let data = definition.data.as_ref().map(|json| {
            let node = compile::field(&mut compiler, Location::of("data"), json);
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

    /// The trigger.
    #[must_use]
    pub const fn trigger(&self) -> &Trigger {
        &self.trigger
    }

    /// Whether the trigger matches an event's document.
    #[must_use]
    pub fn matches(&self, document: &json::Value<'_>) -> bool {
        self.trigger.matches(document)
    }

    /// The URL, where it does not depend on the event.
    #[must_use]
    pub const fn fixed_url(&self) -> Option<&Url> {
        match &self.target {
            Target::Fixed(url) => Some(url),
            Target::FromEvent { .. } => None,
        }
    }

    /// The origins of its URLs, where no value of an event decides on them.
    #[must_use]
    pub fn literal_origins(&self) -> Option<&[Url]> {
        self.target.literal_origins()
    }

    /// Whether bodies are forms, where that does not depend on the event.
    #[must_use]
    pub fn is_form(&self) -> bool {
        request::is_form(self.headers.fixed())
    }

    /// Renders the request for an event's document, which is JSON as `JSON.stringify` prints it.
    ///
    /// # Errors
    /// [`RenderError`] when the mapping gives no valid request for the event.
    pub fn render(&self, document: &Bytes) -> Result<Rendered, RenderError> {
        if let (Target::Fixed(url), None, true) =
            (&self.target, &self.data, self.sends_whole_event())
        {
            return Ok(Rendered {
                method: self.method.clone(),
                url: url.clone(),
                headers: self.headers.fixed().clone(),
                body: document.clone(),
            });
        }
        let event = json::parse(document).map_err(RenderError::Document)?;
        let (event, mut budget) = (View::Value(&event), Budget::new());
        let url = self.target.render(event, &mut budget);
        let url = url.map_err(|error| error.under("url"))?;
        let headers = self.headers.render(event, &mut budget);
        let headers = headers.map_err(|error| error.under("headers"))?;
        let form = request::is_form(&headers);
        let body = match &self.data {
            None if !form => Ok(document.clone()),
            None => body(&Computed::View(event), form, &mut budget),
            Some(node) => {
                let value = node.evaluate(event, &mut budget);
                value.and_then(|value| body(&value, form, &mut budget))
            }
        };
        let body = body.map_err(|error| error.under("data"))?;
        Ok(Rendered { method: self.method.clone(), url, headers, body })
    }

    /// Whether the body is the event's bytes and no header depends on the event: then it is not
    /// parsed.
    fn sends_whole_event(&self) -> bool {
        self.data.is_none() && self.headers.are_fixed() && !self.headers.are_form()
    }
}

fn body(value: &Computed<'_>, form: bool, budget: &mut Budget) -> Result<Bytes, MappingError> {
    let view = value.view();
    let Shape::Object(fields) = view.shape() else {
        return Err(ErrorKind::NotAnObject(view.shape().name()).into());
    };
    if form {
        return Ok(Bytes::from(form_urlencoded::encode(fields, budget)?));
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
    fn every_fault_is_reported_at_once() {
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
    fn a_valid_mapping_has_no_faults() {
        let definition = json!({"url": "https://example.com/a?b=c", "method": "PUT", "headers": {"X-Team": "growth"}});
        assert_eq!(faults(definition), Vec::<String>::new());
        assert_eq!(faults(json!({"url": "https://user:pass@example.com/"})), ["url"]);
    }
}
