//! What the destination's form reads back of what it shows.

use super::*;

fn destination(value: Value) -> DestinationDocument {
    serde_json::from_value(value).unwrap()
}

#[test]
fn submitting_an_unedited_form_changes_nothing() {
    let kept = json!({
        "name": "crm", "enabled": false, "timeout_ms": 3_000, "window_ms": 60_000,
        "max_in_flight": 7, "rate_per_second": 9, "policy": "any", "shared_secret": "kept",
        "auth": {
            "kind": "authorization_code", "authorize_url": "https://a.test/x",
            "token_url": "https://a.test/t", "client_id": " it ", "client_secret": "kept",
            "client_auth": "body", "scopes": ["a", "b"], "parameters": {
                "audience": "x=y", "a=b": "c", "edges": " x ", "lines": "a\nb", "q": "\"x\"", "e": "",
            },
        },
        "secret_headers": {"X-A": "kept", "X-B": "kept"},
        "secret_parameters": {"k": "kept"}, "allowed_hosts": ["a.test", "*.b.test:1"],
        "allow_http": true, "x_signature": "current", "on_gone": "pause",
    });
    for (auth, token) in
        [(kept["auth"].clone(), "none"), (json!({"kind": "bearer", "token": "kept"}), "bearer")]
    {
        let mut value = kept.clone();
        value["auth"] = auth;
        let mut edit = DestinationForm::stored(destination(value.clone()), "tag");
        // A browser sends a value for each header's row; secrets are left empty.
        let mut fields = edit.form.as_sent();
        fields.add(HEADERS.value, "");
        fields.add(HEADERS.value, "");
        fields.add(PARAMETERS.value, "");
        edit.form = fields;
        let mut read = edit.document();
        assert!(edit.form.is_valid(), "{token}");
        read["name"] = "crm".into();
        assert_eq!(read, value, "{token}");
        // The lines of parameters are read back when one of them is edited.
        let text = format!("{}\nmore=1", edit.form.text("auth.parameters"));
        edit.form.set("auth.parameters", &text);
        if token == "none" {
            let mut parameters = value["auth"]["parameters"].clone();
            parameters["more"] = "1".into();
            assert_eq!(edit.document()["auth"]["parameters"], parameters);
        }
    }
}

#[test]
fn secrets_are_kept_replaced_generated_or_deleted() {
    let stored = || {
        destination(json!({"name": "a", "shared_secret": "kept",
        "secret_headers": {"X-A": "kept", "X-B": "kept"}}))
    };
    let read = |text: &str| {
        let form = Form::parse(text.as_bytes());
        let mut edit = DestinationForm::submitted(form, Some(stored())).unwrap();
        let document = edit.document();
        (document, edit.form.is_valid())
    };
    let (document, _) =
        read("signing=kept&header_name=X-A&header_value=&header_name=&header_value=");
    assert_eq!(document["shared_secret"], "kept");
    assert_eq!(document["secret_headers"], json!({"X-A": "kept"}));
    let (document, _) = read("signing=none&header_name=X-A&header_value=new");
    assert_eq!(document.get("shared_secret"), None);
    assert_eq!(document["secret_headers"], json!({"X-A": {"value": "new"}}));
    let mut edit = DestinationForm::submitted(Form::parse(b"signing=made"), None).unwrap();
    let generated = edit.document()["shared_secret"]["value"].clone();
    assert!(generated.as_str().unwrap().starts_with("whsec_"), "{generated}");
    assert_eq!(read("signing=kept&shared_secret=s").0["shared_secret"], json!({"value": "s"}));
    for wrong in ["signing=given", "timeout_ms=5s", "header_name=X-New&header_value="] {
        assert!(!read(wrong).1, "{wrong}");
    }
}
