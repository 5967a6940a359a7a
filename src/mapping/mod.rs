//! Mappings: compiled once per revision, rendered once per attempt. Compilation validates a mapping when
//! it is saved and reports every fault with its path.

mod body;
mod budget;
mod compile;
mod compiler;
mod directive;
mod error;
mod form_urlencoded;
mod headers;
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

use self::body::{Body, BodyKind};
use self::budget::Budget;
use self::compiler::Compiler;
use self::directive::Node;
use self::headers::{Headers, RenderedHeaders};
use self::location::Location;
use self::request::{MethodSource, Target};
use self::value::View;
use crate::domain::header_spelling::HeaderSpellings;
use crate::domain::mapping::MappingDefinition;
use crate::domain::profile::{BatchItemRule, MissingDataRule, RequestRules};
use crate::json;
use crate::trigger::Trigger;

pub use error::{ErrorKind, Fault, MappingError, RenderError};

/// A mapping revision ready to match and render.
#[derive(Clone, Debug)]
pub struct CompiledMapping {
    trigger: Trigger,
    rules: &'static RequestRules,
    method: MethodSource,
    target: Target,
    headers: Headers,
    /// None: the whole event.
    data: Option<Node>,
    /// Whether events share requests.
    batches: bool,
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
    /// How the names of headers are written.
    pub spellings: HeaderSpellings,
    /// The exact bytes of the body; of a mapping with batching, of the event's item in the array.
    pub body: Bytes,
    /// The bytes that `X-Signature` covers; none: the request has none.
    pub signed: Option<Bytes>,
}

impl CompiledMapping {
    /// Compiles a mapping.
    ///
    /// # Errors
    /// All faults at once.
    pub fn compile(definition: &MappingDefinition) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let rules = definition.profile.rules();
        let trigger = Trigger::parse(&definition.trigger)
            .map_err(|error| faults.push(Fault::new("trigger", error.to_string())))
            .ok();
        let mut compiler = Compiler::default();
        let method = MethodSource::compile(&definition.method, &mut compiler, &mut faults);
        let target =
            Target::compile(&definition.url, definition.url_values, &mut compiler, &mut faults);
        let headers = Headers::compile(&definition.headers, rules, &mut compiler, &mut faults);
        let data = definition.data.as_ref().map(|json| {
            let node = compile::field(&mut compiler, Location::of("data"), json);
            let may_be_null = rules.missing_data == MissingDataRule::Empty;
            let fixed = if let Node::Fixed(value) = &node { Some(value) } else { None };
            let is_other =
                |it: &json::Value<'_>| it.as_object().is_none() && !(may_be_null && it.is_null());
            if !json.is_object() || fixed.is_some_and(is_other) {
                faults
                    .push(Fault::new("data", "should be an object or a directive that gives one"));
            }
            node
        });
        faults.extend(compiler.faults());
        let batches = definition.batching.is_some();
        match (trigger, target) {
            (Some(trigger), Some(target)) if faults.is_empty() => {
                Ok(Self { trigger, rules, method, target, headers, data, batches })
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

    /// In what its requests differ from those of other profiles.
    #[must_use]
    pub const fn rules(&self) -> &'static RequestRules {
        self.rules
    }

    /// Writes the names of headers that requests get beside the mapping's in these letters.
    pub fn spell_also(&mut self, names: &HeaderSpellings) {
        self.headers.spell_also(names);
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
        self.headers.fixed().is_some_and(|it| it.is_form)
    }

    /// Renders the request for an event's document, which is JSON as `JSON.stringify` prints it.
    ///
    /// # Errors
    /// [`RenderError`] when the mapping gives no valid request for the event.
    pub fn render(&self, document: &Bytes) -> Result<Rendered, RenderError> {
        if let Some(rendered) = self.whole_event(document) {
            return Ok(rendered);
        }
        let event = json::parse(document).map_err(RenderError::Document)?;
        let (event, mut budget) = (View::Value(&event), Budget::new());
        let method = self.method.render(event, &mut budget);
        let method = method.map_err(|error| error.under("method"))?;
        let url = self.target.render(event, &mut budget);
        let url = url.map_err(|error| error.under("url"))?;
        let headers = self.headers.render(event, &mut budget);
        let headers = headers.map_err(|error| error.under("headers"))?;
        let kind = self.body_kind(headers.is_form);
        let body = match &self.data {
            None => kind.render(event, Some(document), &mut budget).map_err(MappingError::from),
            Some(node) => node
                .evaluate(event, &mut budget)
                .and_then(|data| Ok(kind.render(data.view(), None, &mut budget)?)),
        };
        let body = body.map_err(|error| {
            if error.kind == ErrorKind::FormInBatch {
                error.under("content-type").under("headers")
            } else {
                error.under("data")
            }
        })?;
        Ok(self.rendered((method, url), headers, body))
    }

    /// The request where only its body depends on the event, and is the event's bytes: then it is not
    /// parsed.
    fn whole_event(&self, document: &Bytes) -> Option<Rendered> {
        let (MethodSource::Fixed(method), Target::Fixed(url), None) =
            (&self.method, &self.target, &self.data)
        else {
            return None;
        };
        let headers = self.headers.fixed().filter(|it| !it.is_form)?;
        let body = self.body_kind(false).of_json(document.clone());
        Some(self.rendered((method.clone(), url.clone()), headers.clone(), body))
    }

    const fn body_kind(&self, is_form: bool) -> BodyKind {
        BodyKind { rules: self.rules, is_form, is_item: self.batches }
    }

    fn rendered(
        &self,
        (method, url): (http::Method, Url),
        mut headers: RenderedHeaders,
        body: Body,
    ) -> Rendered {
        // A batch is JSON and has a body, whatever its items are.
        let wraps = self.batches && self.rules.batch_items == BatchItemRule::Wrapped;
        headers.is_form &= !wraps;
        headers.set_content_type(self.rules, self.batches || body.has_data);
        let RenderedHeaders { map, spellings, .. } = headers;
        Rendered { method, url, headers: map, spellings, body: body.bytes, signed: body.signed }
    }
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
