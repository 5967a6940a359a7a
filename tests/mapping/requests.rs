//! Rendering of URLs, headers and bodies that depend on the event.

use serde_json::{Value, json};

use super::{body, compiled, request};

const EVENT: &str = r#"{"type":"track","userId":"u1","properties":{"host":"api.example.com","id":7,"ok":true,
    "none":null,"list":[1],"city":"Zürich","lines":"a\r\nb","user":"me@"},"context":{"page":{"path":"/ä"}}}"#;

fn url(url: Value) -> Result<String, String> {
    let rendered = request(json!({"url": url}), EVENT).map_err(|error| error.to_string())?;
    Ok(rendered.url.to_string())
}

#[test]
fn a_url_from_the_event_is_validated() {
    let template = |text: &str| url(json!({"@template": text}));
    assert_eq!(
        template("https://{{properties.host}}/hook/{{properties.id}}?p={{context.page.path}}"),
        Ok("https://api.example.com/hook/7?p=/%C3%A4".to_owned())
    );
    assert_eq!(
        template("ftp://{{userId}}").unwrap_err(),
        "url gives a URL whose scheme is not http or https"
    );
    assert_eq!(
        template("https://{{properties.user}}example.com").unwrap_err(),
        "url gives a URL with a user name or password"
    );
    assert_eq!(
        template("https://example.com/{{properties.lines}}").unwrap_err(),
        "url gives a URL with a control character"
    );
    assert_eq!(template("{{userId}}").unwrap_err(), "url gives an invalid URL");
    assert_eq!(
        url(json!({"@path": "$.nope"})).unwrap_err(),
        "url should give a URL and gives nothing"
    );
    assert_eq!(
        url(json!({"@path": "$.properties.id"})).unwrap_err(),
        "url should give a URL and gives a number"
    );
    let long =
        json!({"@template": format!("https://example.com/{{{{userId}}}}{}", "x".repeat(9_000))});
    assert_eq!(url(long).unwrap_err(), "url gives a URL longer than 8192 bytes");
}

#[test]
fn a_constant_url_is_fixed() {
    let fixed = |url: Value| compiled(json!({"url": url})).fixed_url().map(ToString::to_string);
    let expected = Some("https://example.com/".to_owned());
    assert_eq!(fixed(json!("https://example.com")), expected);
    assert_eq!(fixed(json!({"@literal": "https://example.com"})), expected);
    assert_eq!(fixed(json!({"@template": "https://example.com"})), expected);
    assert_eq!(fixed(json!({"@template": "https://{{userId}}"})), None);
}

#[test]
fn headers_from_the_event_are_left_out_when_missing() {
    let headers = |headers: Value| {
        let rendered =
            request(json!({"headers": headers}), EVENT).map_err(|error| error.to_string())?;
        let lines = rendered
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        Ok::<_, String>(lines.collect::<Vec<_>>().join("\n"))
    };
    let path = |path: &str| json!({"@path": path});
    assert_eq!(
        headers(json!({
            "X-Id": path("$.properties.id"), "X-Ok": path("$.properties.ok"), "X-Fixed": "é".replace('é', "e"),
            "X-None": path("$.properties.none"), "X-Missing": path("$.nope"), "X-User": path("$.userId"),
        })),
        Ok("content-type: application/json\nx-fixed: e\nx-id: 7\nx-ok: true\nx-user: u1"
            .to_owned())
    );
    assert_eq!(
        headers(json!({"Content-Type": path("$.nope")})),
        Ok("content-type: application/json".to_owned())
    );
    assert_eq!(
        headers(json!({"X-City": path("$.properties.city")})).unwrap_err(),
        "headers.x-city gives a value that is not printable ASCII"
    );
    assert_eq!(
        headers(json!({"X": path("$.properties.lines")})).unwrap_err(),
        "headers.x gives a value that is not printable ASCII"
    );
    assert_eq!(
        headers(json!({"X": path("$.properties.list")})).unwrap_err(),
        "headers.x should give text and gives an array"
    );
}

#[test]
fn data_has_to_be_an_object() {
    let event = r#"{"properties":{"z":1,"10":[1.0,null]},"list":[],"none":null}"#;
    assert_eq!(
        body(json!({"@path": "$.properties"}), event),
        Ok(r#"{"10":[1,null],"z":1}"#.to_owned())
    );
    for (path, given) in [
        ("$.list", "an array"),
        ("$.none", "null"),
        ("$.nope", "nothing"),
        ("$.list.length", "a number"),
    ] {
        let expected = Err(format!("data should give an object and gives {given}"));
        assert_eq!(body(json!({"@path": path}), event), expected);
    }
    let dynamic = json!({"a": [1, {"@path": {"@path": "$.list"}}]});
    assert_eq!(
        body(dynamic, event),
        Err("data.a[1] @path needs a string and was given an array".to_owned())
    );
}

#[test]
fn a_form_is_encoded_from_data_or_the_event() {
    let form = json!({"Content-Type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"});
    let data = json!({"user id": {"@path": "$.userId"}, "none": {"@path": "$.nope"}, "n": {"@path": "$.properties.none"},
        "list": {"@path": "$.properties.list"}, "page": {"@path": "$.context.page"}});
    let rendered = request(json!({"headers": form, "data": data}), EVENT).unwrap();
    assert_eq!(
        rendered.headers["content-type"],
        "Application/X-WWW-Form-Urlencoded; charset=utf-8"
    );
    assert_eq!(rendered.body, "user+id=u1&n=null&list=1&page=%7B%22path%22%3A%22%2F%C3%A4%22%7D");
    let rendered = request(json!({"headers": form}), r#"{"type":"track","userId":"u 1"}"#).unwrap();
    assert_eq!(rendered.body, "type=track&userId=u+1");
    let chosen = json!({"Content-Type": {"@if": {"exists": {"@path": "$.userId"}, "then": "application/x-www-form-urlencoded"}}});
    let rendered = request(json!({"headers": chosen, "data": {"a": 1}}), EVENT).unwrap();
    assert_eq!(rendered.body, "a=1");
    let rendered = request(json!({"headers": chosen, "data": {"a": 1}}), "{}").unwrap();
    assert_eq!(rendered.body, "{\"a\":1}");
}
