//! Forms: what was typed, read within bounds, kept as it was typed, and each field with what is wrong
//! with it beside it. What a form means is its page's business.

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;

use super::failure::Failure;
use crate::domain::error_chain;
use crate::pipeline::Fault;
use crate::service::Condition;

/// The largest form, in bytes.
const LIMIT: usize = 1024 * 1024;

/// What a form or an address' query holds: names and values, in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    fields: Vec<(String, String)>,
    faults: Vec<Fault>,
}

impl Form {
    pub(super) fn parse(text: &[u8]) -> Self {
        let fields = form_urlencoded::parse(text);
        // Browsers send each line break of a text as two characters, whatever was typed.
        let fields = fields.map(|(name, value)| (name.into_owned(), value.replace("\r\n", "\n")));
        let fields = fields.collect();
        Self { fields, faults: Vec::new() }
    }

    /// A form as it is before anything is typed.
    pub(super) fn of(fields: Vec<(String, String)>) -> Self {
        Self { fields, faults: Vec::new() }
    }

    /// Puts a text into a field in place of what it held, and what was wrong with that aside.
    pub(super) fn put(&mut self, name: &str, text: &str) {
        self.fields.retain(|(known, _)| known != name);
        self.faults.retain(|fault| fault.path != name);
        self.fields.push((name.to_owned(), text.to_owned()));
    }

    /// The field's text, as it was typed; empty when it was not given.
    pub(super) fn text(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// The field's text without spaces around it; none when nothing was typed.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        Some(self.text(name).trim()).filter(|text| !text.is_empty())
    }

    /// Every value of a name: ticked boxes.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Names and values, but for these names and for what was left empty.
    pub(super) fn others<'a>(
        &'a self,
        but: &'a [&str],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.fields
            .iter()
            .filter(|(name, value)| !but.contains(&name.as_str()) && !value.trim().is_empty())
            .map(|(name, value)| (name.as_str(), value.trim()))
    }

    /// What is filled in, but for these names, as the service takes conditions.
    pub(super) fn conditions(&self, but: &[&str]) -> Vec<Condition> {
        let others = self.others(but);
        others.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Notes what is wrong.
    pub(super) fn fault(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.faults.push(Fault { path: path.into(), message: message.into() });
    }

    pub(super) fn take_faults(&mut self, faults: Vec<Fault>) {
        self.faults.extend(faults);
    }

    /// Notes each at the field that holds what is at fault, with the place in it: `headers.X-Team`
    /// stands at `headers`.
    pub(super) fn place_faults(&mut self, fields: &[&str], faults: Vec<Fault>) {
        for Fault { path, message } in faults {
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

    pub(super) fn is_right(&self) -> bool {
        self.faults.is_empty()
    }

    /// A field as its template shows it.
    pub(super) fn field(&self, name: &'static str) -> Field {
        let faults = self.faults.iter().filter(|fault| fault.path == name);
        let told: Vec<&str> = faults.map(|fault| fault.message.as_str()).collect();
        Field {
            name,
            value: self.text(name).to_owned(),
            fault: (!told.is_empty()).then(|| told.join("\n")),
        }
    }

    /// What is wrong with none of these fields.
    pub(super) fn other_faults(&self, known: &[&str]) -> Vec<Fault> {
        self.faults.iter().filter(|fault| !known.contains(&fault.path.as_str())).cloned().collect()
    }
}

/// A field: its name, what was typed, and what is wrong with that, a line for each.
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
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        if kind.is_some_and(|kind| !kind.starts_with("application/x-www-form-urlencoded")) {
            return Err(Failure::malformed("A form is sent as application/x-www-form-urlencoded."));
        }
        let bytes = to_bytes(request.into_body(), LIMIT).await.map_err(|error| unread(&error))?;
        Ok(Self::parse(&bytes))
    }
}

fn unread(error: &axum::Error) -> Failure {
    if error_chain::chain(error).any(|cause| cause.is::<http_body_util::LengthLimitError>()) {
        return Failure::too_large(LIMIT);
    }
    Failure::malformed("The form did not arrive whole.")
}

/// What an address asks for after its `?`.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(pub(super) Form);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Self, std::convert::Infallible> {
        Ok(Self(Form::parse(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// An address with a query; what is empty is left out.
pub(super) fn address<'a>(
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
    fn what_was_typed_is_kept_beside_what_is_wrong_with_it() {
        let mut form = Form::parse(b"name=+a%3Cb+&rate=&id=1&id=2");
        form.fault("name", "should be shorter");
        form.fault("ids[0]", "is no id");
        let field = form.field("name");
        assert_eq!(
            (field.value.as_str(), field.fault.as_deref()),
            (" a<b ", Some("should be shorter"))
        );
        assert_eq!(form.filled("rate"), None);
        assert_eq!(form.all("id").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(form.other_faults(&["name"]).len(), 1);
    }

    #[test]
    fn a_fault_stands_at_the_field_that_holds_it() {
        let mut form = Form::default();
        let fault = |path: &str| Fault::new(path, "is wrong");
        let paths = ["auth.scopes[1]", "headers.X-Team", "headers", "headersome", "auth.kind"];
        form.place_faults(&["auth", "auth.scopes", "headers"], paths.map(fault).into());
        let told = |name| form.field(name).fault.unwrap_or_default();
        assert_eq!(told("auth.scopes"), "[1]: is wrong");
        assert_eq!(told("headers"), "X-Team: is wrong\nis wrong");
        assert_eq!(told("auth"), "kind: is wrong");
        assert_eq!(form.other_faults(&["auth", "auth.scopes", "headers"]).len(), 1);
    }

    #[test]
    fn an_address_has_what_was_given() {
        assert_eq!(address("/a", [("state", "dead"), ("type", "")]), "/a?state=dead");
        assert_eq!(address("/a", []), "/a");
    }
}
