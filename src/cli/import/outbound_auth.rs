//! Converts the authorization settings of Segment's extensible webhooks to a destination's `auth`. Secrets
//! become names of variables.

use serde_json::{Map, Value, json};

use super::export::{object, text};
use super::names::variable;
use super::report::{Findings, Kind};

const FIELD: &str = "settings.dynamicAuthSettings";

/// Converts the settings of the extensible webhook `at` this path.
pub(super) fn convert(
    at: &str,
    settings: &Map<String, Value>,
    document: &mut Map<String, Value>,
    findings: &mut Findings,
) {
    let dynamic = object(settings, "dynamicAuthSettings");
    let oauth = object(&dynamic, "oauth");
    let bearer = object(&dynamic, "bearer");
    let converted = match text(&oauth, "type") {
        Some("noAuth") => {
            if !bearer.is_empty() {
                let message =
                    "is left over from before: the type is noAuth, and Segment sends no token";
                findings.add(at, &format!("{FIELD}.bearer"), Kind::LeftOut, message);
            }
            return;
        }
        _ if dynamic.contains_key("bearer") => {
            Ok(json!({"kind": "bearer", "token": {"env": variable(at, "TOKEN")}}))
        }
        None if dynamic.is_empty() => return,
        None => Err("its type is missing".to_owned()),
        Some("authCode") => client("authorization_code", at, &oauth, findings),
        Some("clientCredentials" | "clientCreds") => {
            client("client_credentials", at, &oauth, findings)
        }
        Some(other) => Err(format!("there is no kind for {other:?}")),
    };
    match converted {
        Ok(auth) => {
            let what = ["token", "client_secret"].into_iter().find_map(|it| auth.get(it));
            let variable = what.and_then(|it| it["env"].as_str()).unwrap_or("");
            let message = format!(
                "its secret is not carried over: give it as the variable {variable}; with OAuth, \
                 connect the destination again"
            );
            findings.add(at, FIELD, Kind::ToDo, message);
            document.insert("auth".to_owned(), auth);
        }
        Err(why) => {
            let message = format!("{why}: write the destination's auth, then enable it");
            findings.add(at, FIELD, Kind::ToDo, message);
            document.insert("enabled".to_owned(), Value::from(false));
        }
    }
}

/// The `auth` of an OAuth client, or what is missing for it.
fn client(
    kind: &str,
    at: &str,
    oauth: &Map<String, Value>,
    findings: &mut Findings,
) -> Result<Value, String> {
    let is_code = kind == "authorization_code";
    let field = |name: &str| text(oauth, name).map(ToOwned::to_owned);
    let required =
        |found: Option<String>, name: &str| found.ok_or_else(|| format!("{name} is missing"));
    let mut auth = Map::new();
    auth.insert("kind".to_owned(), Value::from(kind));
    let refresh_url = field("refreshTokenServerUrl");
    // The two are usually the same, and tokens are got again where they are refreshed.
    let token_url = field("accessTokenServerUrl").or_else(|| refresh_url.clone());
    let custom = Custom::of(at, oauth, is_code, findings);
    if is_code {
        let url = required(field("authorizationServerUrl"), "authorizationServerUrl")?;
        auth.insert("authorize_url".to_owned(), Value::from(url));
        let url = refresh_url.or_else(|| token_url.clone().filter(|_| custom.has_query()));
        auth.extend(url.map(|url| ("refresh_url".to_owned(), custom.added_to(&url).into())));
    }
    let token_url = required(token_url, "accessTokenServerUrl")?;
    let token_url = if is_code { token_url } else { custom.added_to(&token_url) };
    auth.insert("token_url".to_owned(), Value::from(token_url));
    auth.insert("client_id".to_owned(), required(field("clientId"), "clientId")?.into());
    auth.insert("client_secret".to_owned(), json!({"env": variable(at, "CLIENT_SECRET")}));
    // Segment does not form-encode what is in the header.
    auth.insert("client_auth".to_owned(), Value::from("basic_unencoded"));
    let scopes: Vec<&str> = match oauth.get("scopes").or_else(|| oauth.get("scope")) {
        Some(Value::String(scopes)) => {
            scopes.split([' ', ',']).filter(|scope| !scope.is_empty()).collect()
        }
        Some(Value::Array(scopes)) => scopes.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    };
    if !scopes.is_empty() {
        auth.insert("scopes".to_owned(), json!(scopes));
    }
    if !custom.body.is_empty() {
        auth.insert("parameters".to_owned(), Value::Object(custom.body));
    }
    auth.extend(custom.token_prefix.map(|it| ("token_prefix".to_owned(), it.into())));
    Ok(Value::Object(auth))
}

/// Further parameters of token requests.
#[derive(Default)]
struct Custom {
    token_prefix: Option<String>,
    query: Vec<(String, String)>,
    body: Map<String, Value>,
}

impl Custom {
    fn of(at: &str, oauth: &Map<String, Value>, is_code: bool, findings: &mut Findings) -> Self {
        let given = object(oauth, "customParams");
        let token_prefix = text(&given, "tokenPrefix").filter(|it| *it != "Bearer");
        let mut custom =
            Self { token_prefix: token_prefix.map(ToOwned::to_owned), ..Self::default() };
        for (name, value) in &given {
            let field = format!("{FIELD}.oauth.customParams.{name}");
            match (name.as_str(), value) {
                ("tokenPrefix", _) | (_, Value::Null) => {}
                ("refreshRequest", Value::Array(items)) => {
                    for item in items {
                        if !custom.take(item, is_code) {
                            let key = item["key"].as_str().unwrap_or_default();
                            let field = format!("{field}.{key}");
                            let message =
                                "cannot be sent there: see the destination's auth.parameters";
                            findings.add(at, &field, Kind::LeftOut, message);
                        }
                    }
                }
                _ => {
                    let message = "see the destination's auth: client_auth and parameters";
                    findings.add(at, &field, Kind::LeftOut, message);
                }
            }
        }
        custom
    }

    /// Whether there is a place for a parameter.
    fn take(&mut self, item: &Value, is_code: bool) -> bool {
        let text = |name: &str| item[name].as_str().map(ToOwned::to_owned);
        let (Some(key), Some(value)) = (text("key"), text("value")) else { return false };
        match item["sendIn"].as_str() {
            Some("query") => self.query.push((key, value)),
            Some("body") if !is_code => {
                self.body.insert(key, value.into());
            }
            Some(_) | None => return false,
        }
        true
    }

    const fn has_query(&self) -> bool {
        !self.query.is_empty()
    }

    fn added_to(&self, url: &str) -> String {
        if self.query.is_empty() {
            return url.to_owned();
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.query);
        let mark = if url.contains('?') { '&' } else { '?' };
        format!("{url}{mark}{}", query.finish())
    }
}
