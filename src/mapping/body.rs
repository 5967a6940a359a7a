//! A request's body, or its item in a batch, and what `X-Signature` covers.

use bytes::Bytes;

use super::budget::{Budget, MAX_BODY};
use super::error::ErrorKind;
use super::form_urlencoded;
use super::print;
use super::value::{Shape, View};
use crate::domain::profile::{BatchItemRule, MissingDataRule, RequestRules, XSignatureRule};
use crate::json::{Text, print_text};

/// A rendered body.
#[derive(Debug)]
pub(super) struct Body {
    /// The exact bytes; in a batch, of the item.
    pub(super) bytes: Bytes,
    /// What `X-Signature` covers; none: it is not sent.
    pub(super) signed: Option<Bytes>,
    /// Whether there is data.
    pub(super) has_data: bool,
}

/// What kind of body is rendered.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyKind {
    pub(super) rules: &'static RequestRules,
    /// Whether it is a form, by the headers.
    pub(super) is_form: bool,
    /// Whether it is an item of a batch.
    pub(super) is_item: bool,
}

impl BodyKind {
    /// Renders data. `printed` is its JSON where that is known.
    pub(super) fn render(
        self,
        data: View<'_>,
        printed: Option<&Bytes>,
        budget: &mut Budget,
    ) -> Result<Body, ErrorKind> {
        let Shape::Object(fields) = data.shape() else { return self.without_data(data) };
        let json = || match printed {
            Some(printed) => Ok(printed.clone()),
            None => print::print(data, MAX_BODY).map(Bytes::from),
        };
        if !self.is_form {
            return Ok(self.of_json(json()?));
        }
        let form = form_urlencoded::encode(fields, self.rules.form_values, budget)?;
        let (bytes, signed) = match (self.is_item, self.rules.batch_items) {
            (true, BatchItemRule::Data) => return Err(ErrorKind::FormInBatch),
            (true, BatchItemRule::Wrapped) => (wrapped_form(&form), json()?),
            (false, _) => {
                let bytes = Bytes::from(form);
                let signed = match self.rules.x_signature {
                    XSignatureRule::Body => bytes.clone(),
                    XSignatureRule::Data => json()?,
                };
                (bytes, signed)
            }
        };
        Ok(Body { bytes, signed: Some(signed), has_data: true })
    }

    /// A body of JSON.
    pub(super) fn of_json(self, json: Bytes) -> Body {
        let bytes = match (self.is_item, self.rules.batch_items) {
            (true, BatchItemRule::Wrapped) => Bytes::from([b"{\"json\":", &*json, b"}"].concat()),
            (true, BatchItemRule::Data) | (false, _) => json.clone(),
        };
        Body { bytes, signed: Some(json), has_data: true }
    }

    fn without_data(self, data: View<'_>) -> Result<Body, ErrorKind> {
        let shape = data.shape();
        let is_missing = match shape {
            Shape::Missing | Shape::Null => true,
            Shape::String(text) => text.printed().is_empty(),
            Shape::Bool(_) | Shape::Number(_) | Shape::Array(_) | Shape::Object(_) => false,
        };
        match self.rules.missing_data {
            MissingDataRule::Empty if is_missing => {
                let bytes = Bytes::from_static(if self.is_item { b"null" } else { b"" });
                Ok(Body { bytes, signed: None, has_data: false })
            }
            MissingDataRule::Empty | MissingDataRule::Dead => {
                Err(ErrorKind::NotAnObject(shape.name()))
            }
        }
    }
}

fn wrapped_form(form: &str) -> Bytes {
    let mut item = b"{\"body\":".to_vec();
    print_text(&Text::from_plain(form), &mut item);
    item.push(b'}');
    Bytes::from(item)
}
