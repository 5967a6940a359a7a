//! HTML forms and query strings: bounded parsing, the input as it was typed, and validation faults per
//! field.

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;

use super::error::PageError;
use crate::domain::error_chain;
use crate::pipeline::FieldError;
use crate::service::page::Page;
use crate::service::{Condition, ServiceError};

/// The largest form, in bytes.
const LIMIT: usize = 1024 * 1024;

/// The fields of a form or query string, in order, with the faults found in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    fields: Vec<(String, String)>,
    faults: Vec<FieldError>,
}

impl Form {
    /// Parses `application/x-www-form-urlencoded` text.
    pub(super) fn parse(text: &[u8]) -> Self {
        let fields = form_urlencoded::parse(text);
        // Browsers send every line break as CRLF.
        let fields = fields.map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n")));
        let fields = fields.collect();
        Self { fields, faults: Vec::new() }
    }

    /// A form with initial values.
    pub(super) fn of(fields: Vec<(String, String)>) -> Self {
        Self { fields, faults: Vec::new() }
    }

    /// Replaces a field's value and clears its faults.
    pub(super) fn set(&mut self, name: &str, text: &str) {
        self.fields.retain(|(known, _)| known != name);
        self.faults.retain(|fault| fault.path != name);
        self.fields.push((name.to_owned(), text.to_owned()));
    }

    /// The field's value as typed; empty when the field is missing.
    pub(super) fn text(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The field's trimmed value; none when it is empty.
    pub(super) fn non_empty(&self, name: &str) -> Option<&str> {
        Some(self.text(name).trim()).filter(|text| !text.is_empty())
    }

    /// All values of a repeated field, such as checkboxes.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The non-empty fields, except these.
    pub(super) fn except<'a>(
        &'a self,
        excluded: &'a [&str],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.fields
            .iter()
            .filter(|(name, value)| !excluded.contains(&name.as_str()) && !value.trim().is_empty())
            .map(|(name, value)| (name.as_str(), value.trim()))
    }

    /// The non-empty fields, except these, as filter conditions of the service.
    pub(super) fn conditions(&self, excluded: &[&str]) -> Vec<Condition> {
        let fields = self.except(excluded);
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Adds a fault at a field.
    pub(super) fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(FieldError { path: path.into(), message: message.into() });
    }

    pub(super) fn add_faults(&mut self, faults: Vec<FieldError>) {
        self.faults.extend(faults);
    }

    /// Adds each fault at the field with the longest matching path: `headers.X-Team` is shown at
    /// `headers`, prefixed with `X-Team`.
    pub(super) fn place_faults(&mut self, fields: &[&str], faults: Vec<FieldError>) {
        for FieldError { path, message } in faults {
            let holds = |field: &&&str| {
                let rest = path.strip_prefix(**field);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            let holder = fields.iter().filter(holds).max_by_key(|field| field.len());
            let Some(field) = holder else {
                self.fault(path, message);
                continue;
            };
            let rest = path[field.len()..].trim_start_matches('.');
            let message = if rest.is_empty() { message } else { format!("{rest}: {message}") };
            self.fault(*field, message);
        }
    }

    /// The result, or none with the faults of an invalid request added.
    pub(super) fn or_faults<T>(
        &mut self,
        result: Result<T, ServiceError>,
    ) -> Result<Option<T>, PageError> {
        match result {
            Ok(found) => Ok(Some(found)),
            Err(ServiceError::Invalid(faults)) => {
                self.add_faults(faults);
                Ok(None)
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The page of a list, or an empty one with the faults of an invalid request added.
    pub(super) fn page_or_faults<T>(
        &mut self,
        result: Result<Page<T>, ServiceError>,
    ) -> Result<Page<T>, PageError> {
        let empty = Page { items: Vec::new(), next: None, looked_to: None };
        Ok(self.or_faults(result)?.unwrap_or(empty))
    }

    /// Whether these fields were submitted as `shown` had them. Browsers send every line break as CRLF,
    /// and trim URLs.
    pub(super) fn is_untouched(&self, shown: &Self, names: &[&str]) -> bool {
        let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        names.iter().all(|name| {
            let (now, before) = (lines(self.text(name)), lines(shown.text(name)));
            now == before || (name.ends_with("_url") && now.trim() == before.trim())
        })
    }

    /// Adds a field.
    #[cfg(test)]
    pub(super) fn add(&mut self, name: &str, text: &str) {
        self.fields.push((name.to_owned(), text.to_owned()));
    }

    /// As a browser submits it.
    #[cfg(test)]
    pub(super) fn as_sent(&self) -> Self {
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, text) in &self.fields {
            body.append_pair(name, &text.replace("\r\n", "\n").replace('\n', "\r\n"));
        }
        Self::parse(body.finish().as_bytes())
    }

    pub(super) fn is_valid(&self) -> bool {
        self.faults.is_empty()
    }

    /// A field for its template.
    pub(super) fn field(&self, name: &'static str) -> Field {
        let faults = self.faults.iter().filter(|fault| fault.path == name);
        let messages: Vec<&str> = faults.map(|fault| fault.message.as_str()).collect();
        Field {
            name,
            value: self.text(name).to_owned(),
            fault: (!messages.is_empty()).then(|| messages.join("\n")),
        }
    }

    /// Faults at none of these fields.
    pub(super) fn other_faults(&self, known: &[&str]) -> Vec<FieldError> {
        self.faults.iter().filter(|fault| !known.contains(&fault.path.as_str())).cloned().collect()
    }
}

/// A field: its name, its value and its faults, one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) fault: Option<String>,
}

impl Field {
    pub(super) fn is(&self, option: &str) -> bool {
        self.value == option
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = PageError;

    async fn from_request(request: Request, _: &S) -> Result<Self, PageError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        if kind.is_some_and(|kind| !kind.starts_with("application/x-www-form-urlencoded")) {
            return Err(PageError::malformed(
                "The content type must be application/x-www-form-urlencoded.",
            ));
        }
        let bytes =
            to_bytes(request.into_body(), LIMIT).await.map_err(|error| read_error(&error))?;
        Ok(Self::parse(&bytes))
    }
}

fn read_error(error: &axum::Error) -> PageError {
    if error_chain::chain(error).any(|cause| cause.is::<http_body_util::LengthLimitError>()) {
        return PageError::too_large(LIMIT);
    }
    PageError::malformed("The request body is incomplete.")
}

/// The query string of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(pub(super) Form);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Self, std::convert::Infallible> {
        Ok(Self(Form::parse(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// A path with a query string; empty values are omitted.
pub(super) fn with_query<'a>(
    path: &str,
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_its_input_and_its_faults() {
        let mut form = Form::parse(b"name=+a%3Cb+&rate=&id=1&id=2");
        form.fault("name", "should be shorter");
        form.fault("ids[0]", "is no id");
        let field = form.field("name");
        assert_eq!(
            (field.value.as_str(), field.fault.as_deref()),
            (" a<b ", Some("should be shorter"))
        );
        assert_eq!(form.non_empty("rate"), None);
        assert_eq!(form.all("id").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(form.other_faults(&["name"]).len(), 1);
    }

    #[test]
    fn a_fault_is_shown_at_the_field_with_the_longest_matching_path() {
        let mut form = Form::default();
        let fault = |path: &str| FieldError::new(path, "is wrong");
        let paths = ["auth.scopes[1]", "headers.X-Team", "headers", "headersome", "auth.kind"];
        form.place_faults(&["auth", "auth.scopes", "headers"], paths.map(fault).into());
        let shown = |name| form.field(name).fault.unwrap_or_default();
        assert_eq!(shown("auth.scopes"), "[1]: is wrong");
        assert_eq!(shown("headers"), "X-Team: is wrong\nis wrong");
        assert_eq!(shown("auth"), "kind: is wrong");
        assert_eq!(form.other_faults(&["auth", "auth.scopes", "headers"]).len(), 1);
    }

    #[test]
    fn empty_values_are_omitted_from_a_query_string() {
        assert_eq!(with_query("/a", [("state", "dead"), ("type", "")]), "/a?state=dead");
        assert_eq!(with_query("/a", []), "/a");
    }
}
