//! Converts the authorization settings of Segment's extensible webhooks to a destination's `auth`. Secrets
//! become names of variables.

use serde_json::{Map, Value, json};

use super::export::{object, text};

/// The `auth` of a destination, or what is missing for it.
pub(super) enum Auth {
    None,
    Of(Value),
    /// Fields that are missing before the destination can be enabled.
    Unfinished(String),
}

/// Converts the settings of an extensible webhook; `variable` gives a variable's name.
pub(super) fn auth(settings: &Map<String, Value>, variable: &dyn Fn(&str) -> String) -> Auth {
    let dynamic = object(settings, "dynamicAuthSettings");
    let oauth = object(&dynamic, "oauth");
    if dynamic.contains_key("bearer") {
        return Auth::Of(json!({"kind": "bearer", "token": {"env": variable("TOKEN")}}));
    }
    let (kind, urls): (_, &[(&str, &str)]) = match text(&oauth, "type") {
        None if dynamic.is_empty() => return Auth::None,
        Some("noAuth") => return Auth::None,
        Some("authCode") => (
            "authorization_code",
            &[("authorize_url", "authorizationServerUrl"), ("token_url", "accessTokenServerUrl")],
        ),
        Some("clientCredentials" | "clientCreds") => {
            ("client_credentials", &[("token_url", "accessTokenServerUrl")])
        }
        Some(other) => return Auth::Unfinished(format!("there is no kind for {other:?}")),
        None => return Auth::Unfinished("its type is missing".to_owned()),
    };
    let mut auth = Map::new();
    auth.insert("kind".to_owned(), Value::from(kind));
    let refresh_url = text(&oauth, "refreshTokenServerUrl");
    for (ours, theirs) in urls {
        // The two are usually the same, and tokens are got again where they are refreshed.
        let found = text(&oauth, theirs).or(refresh_url.filter(|_| *ours == "token_url"));
        let Some(url) = found else { return Auth::Unfinished(format!("{theirs} is missing")) };
        auth.insert((*ours).to_owned(), Value::from(url));
    }
    if let (Some(url), "authorization_code") = (refresh_url, kind) {
        auth.insert("refresh_url".to_owned(), Value::from(url));
    }
    match text(&oauth, "clientId") {
        Some(id) => auth.insert("client_id".to_owned(), Value::from(id)),
        None => return Auth::Unfinished("clientId is missing".to_owned()),
    };
    auth.insert("client_secret".to_owned(), json!({"env": variable("CLIENT_SECRET")}));
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
    Auth::Of(Value::Object(auth))
}

/// OAuth settings that `auth` does not have.
pub(super) fn left_out(settings: &Map<String, Value>) -> Option<&'static str> {
    let oauth = object(&object(settings, "dynamicAuthSettings"), "oauth");
    oauth.contains_key("customParams").then_some("dynamicAuthSettings.oauth.customParams")
}
