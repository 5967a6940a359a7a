//! An HTTP client for pages: it sends forms with a browser's headers and keeps the session cookie.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use postrider::sender::ApiClient;

use crate::support::app::TestApp;

/// A client with its session cookie.
pub(crate) struct Visitor {
    client: ApiClient,
    origin: String,
    cookie: Option<String>,
}

/// An answer, read.
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) html: String,
}

impl Page {
    /// The target of a redirect.
    pub(crate) fn leads_to(&self) -> &str {
        self.header(header::LOCATION)
    }

    /// The value of a form field.
    pub(crate) fn field(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let (_, value) = self.html.split_once(&start).expect("the field is there");
        value.split('"').next().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Visitor {
    pub(crate) fn of(app: &TestApp) -> Self {
        Self::at(app.base())
    }

    /// Of a service at this base URL.
    pub(crate) fn at(origin: String) -> Self {
        Self { client: ApiClient::new(&origin, None).unwrap(), origin, cookie: None }
    }

    /// Signed in with the token of the installation.
    pub(crate) async fn signed_in(app: &TestApp) -> Self {
        Self::with_token(app, &app.token()).await
    }

    /// Signed in with this token.
    pub(crate) async fn with_token(app: &TestApp, token: &str) -> Self {
        let mut visitor = Self::of(app);
        visitor.sign_in(token).await;
        visitor
    }

    pub(crate) async fn sign_in(&mut self, token: &str) {
        let page = self.post("/sign-in", &[("token", token)]).await;
        assert_eq!((page.status, page.leads_to()), (StatusCode::SEE_OTHER, "/"));
    }

    /// The cookie of its session.
    pub(crate) fn cookie(&self) -> &str {
        self.cookie.as_deref().expect("it has signed in")
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.ask(Method::GET, path, &[], String::new()).await
    }

    /// Submits a form from a page of this UI.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let origin = self.origin.clone();
        let from_here = [("sec-fetch-site", "same-origin"), ("origin", origin.as_str())];
        self.post_from(path, &from_here, fields).await
    }

    /// Submits a form with these headers.
    pub(crate) async fn post_from(
        &mut self,
        path: &str,
        headers: &[(&'static str, &str)],
        fields: &[(&str, &str)],
    ) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let headers: Vec<_> = headers.iter().copied().chain([kind]).collect();
        self.ask(Method::POST, path, &headers, body).await
    }

    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: String,
    ) -> Page {
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            sent.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        if let Some(cookie) = &self.cookie {
            sent.insert(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        let answer = self.client.request(method, path, sent, Bytes::from(body)).await.unwrap();
        for set in answer.headers.get_all(header::SET_COOKIE) {
            let text = set.to_str().unwrap();
            let pair = text.split(';').next().unwrap();
            if pair.contains("_session=") {
                self.cookie = (!text.contains("Max-Age=0")).then(|| pair.to_owned());
            }
        }
        let html = String::from_utf8(answer.body.to_vec()).unwrap();
        Page { status: answer.status, headers: answer.headers, html }
    }
}
