//! Flash messages: shown once, on the page that follows a redirect. A cookie carries them.

use axum::response::{IntoResponse, Redirect, Response};

/// A message for the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flash {
    /// `good`, `warn` or `bad`.
    pub(super) tone: &'static str,
    pub(super) text: String,
}

impl Flash {
    /// The request succeeded.
    pub(super) fn good(text: impl Into<String>) -> Self {
        Self { tone: "good", text: text.into() }
    }

    /// The request had no effect or only part of it.
    pub(super) fn warn(text: impl Into<String>) -> Self {
        Self { tone: "warn", text: text.into() }
    }

    pub(super) fn to_cookie(&self) -> String {
        format!("{}:{}", self.tone, self.text)
    }

    pub(super) fn of_cookie(value: &str) -> Option<Self> {
        let (tone, text) = value.split_once(':')?;
        let tone = ["good", "warn", "bad"].into_iter().find(|known| *known == tone)?;
        Some(Self { tone, text: text.to_owned() })
    }
}

/// A 303 redirect after a form, with an optional flash message.
#[derive(Clone, Debug)]
pub(super) struct SeeOther {
    pub(super) to: String,
    pub(super) flash: Option<Flash>,
}

impl SeeOther {
    /// Redirects to a path of this UI.
    pub(super) fn to(path: impl Into<String>) -> Self {
        Self { to: path.into(), flash: None }
    }

    pub(super) fn with_flash(self, flash: Flash) -> Self {
        Self { flash: Some(flash), ..self }
    }
}

impl IntoResponse for SeeOther {
    fn into_response(self) -> Response {
        let mut response = Redirect::to(&self.to).into_response();
        if let Some(flash) = self.flash {
            response.extensions_mut().insert(flash);
        }
        response
    }
}
