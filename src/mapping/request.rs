//! A request's method and URL: constant ones are validated when the mapping is compiled, those that depend
//! on the event each time they are rendered.

use serde_json::Value as Json;
use url::Url;

use super::budget::Budget;
use super::compile;
use super::compiler::Compiler;
use super::directive::Node;
use super::error::{ErrorKind, Fault, MappingError};
use super::location::Location;
use super::url_template::MAX_URL;
use super::value::{Shape, View};
use crate::domain::mapping::{Method, RequestMethod, UrlValues};
use crate::json::Value;

/// The method of requests.
#[derive(Clone, Debug)]
pub(super) enum MethodSource {
    Fixed(http::Method),
    FromEvent(Node),
}

impl MethodSource {
    pub(super) fn compile(
        method: &RequestMethod,
        compiler: &mut Compiler,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let directive = match method {
            RequestMethod::Fixed(method) => return Self::Fixed(http_method(*method)),
            RequestMethod::FromEvent(directive) => Json::Object(directive.clone()),
        };
        let node = compile::field(compiler, Location::of("method"), &directive);
        let fixed = if let Node::Fixed(Value::String(text)) = &node {
            Method::named(&text.plain())
        } else if node.gives_structure() {
            None
        } else {
            return Self::FromEvent(node);
        };
        let method = fixed.unwrap_or_else(|| {
            let expected = "should be POST, PUT or PATCH, or a directive that gives one";
            faults.push(Fault::new("method", expected));
            Method::Post
        });
        Self::Fixed(http_method(method))
    }

    /// The method for an event.
    pub(super) fn render(
        &self,
        event: View<'_>,
        budget: &mut Budget,
    ) -> Result<http::Method, MappingError> {
        let node = match self {
            Self::Fixed(method) => return Ok(method.clone()),
            Self::FromEvent(node) => node,
        };
        let value = node.evaluate(event, budget)?;
        let Shape::String(text) = value.view().shape() else {
            return Err(ErrorKind::NotAMethod.into());
        };
        let method = Method::named(&text.plain()).ok_or(ErrorKind::NotAMethod)?;
        Ok(http_method(method))
    }
}

const fn http_method(method: Method) -> http::Method {
    match method {
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
    }
}

/// Where requests go.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Fixed(Url),
    FromEvent {
        node: Node,
        /// The origins that the mapping alone decides on; none where the event does.
        origins: Option<Vec<Url>>,
    },
}

impl Target {
    /// None where there are faults.
    pub(super) fn compile(
        json: &Json,
        values: UrlValues,
        compiler: &mut Compiler,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        compiler.enter_url(Some(values));
        let node = compile::field(compiler, Location::of("url"), json);
        compiler.enter_url(None);
        if node.gives_structure() {
            let expected = "should be a URL such as \"https://example.com/hook\", or a directive that \
                          gives one";
            faults.push(Fault::new("url", expected));
            return None;
        }
        let Node::Fixed(Value::String(text)) = &node else {
            let origins = node.literal_origins();
            return Some(Self::FromEvent { node, origins });
        };
        match fixed_url(&text.plain()) {
            Ok(url) => Some(Self::Fixed(url)),
            Err(message) => {
                faults.push(Fault::new("url", message));
                None
            }
        }
    }

    /// The URL for an event.
    pub(super) fn render(&self, event: View<'_>, budget: &mut Budget) -> Result<Url, MappingError> {
        let (node, origins) = match self {
            Self::Fixed(url) => return Ok(url.clone()),
            Self::FromEvent { node, origins } => (node, origins),
        };
        let value = node.evaluate(event, budget)?;
        let shape = value.view().shape();
        let Shape::String(text) = shape else {
            return Err(ErrorKind::NotAUrl(shape.name()).into());
        };
        let url = validated_url(&text.plain())?;
        let changed = |origins: &Vec<Url>| origins.iter().all(|it| it.origin() != url.origin());
        if origins.as_ref().is_some_and(changed) {
            return Err(ErrorKind::UrlOrigin.into());
        }
        Ok(url)
    }

    /// The origins of its URLs, where the mapping alone decides on them.
    pub(super) fn literal_origins(&self) -> Option<&[Url]> {
        match self {
            Self::Fixed(url) => Some(std::slice::from_ref(url)),
            Self::FromEvent { origins, .. } => origins.as_deref(),
        }
    }
}

fn validated_url(text: &str) -> Result<Url, ErrorKind> {
    if text.len() > MAX_URL {
        return Err(ErrorKind::UrlLength);
    }
    // The parser silently drops line breaks and tabs.
    if text.chars().any(char::is_control) {
        return Err(ErrorKind::UrlControl);
    }
    let url = Url::parse(text).map_err(ErrorKind::BadUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ErrorKind::UrlScheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ErrorKind::UrlCredentials);
    }
    Ok(url)
}

fn fixed_url(text: &str) -> Result<Url, String> {
    validated_url(text).map_err(|kind| {
        if let ErrorKind::BadUrl(error) = kind {
            format!("is not a URL: {error}")
        } else if kind == ErrorKind::UrlScheme {
            "should have the scheme http or https".to_owned()
        } else if kind == ErrorKind::UrlCredentials {
            "a user name or password in a URL would be on record in every attempt: leave it out \
             and use a header"
                .to_owned()
        } else {
            kind.to_string()
        }
    })
}
