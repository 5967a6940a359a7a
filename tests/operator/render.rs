//! `postrider render`: JSON lines in, a line out for each, whatever it is.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

/// Runs the real binary on lines; gives its exit code and its lines.
pub(crate) fn render(arguments: &[&str], lines: &[String]) -> (i32, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_postrider"))
        .arg("render")
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = lines.join("\n");
    let writing = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let answers = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), answers)
}

#[test]
fn every_line_gives_one_and_errors_do_not_end_the_run() {
    let event = r#"{"type":"track","userId":"u1","n":1.0}"#;
    let lines = [
        format!(r#"{{"event":{event}}}"#),
        format!(r#"{{"mapping":{{"url":{{"@template":"https://{{{{userId}}}}.example.com"}},"method":"PUT","headers":{{"X-A":"b","X-Signature":"mine"}},"data":{{"id":{{"@path":"$.userId"}}}}}},"event":{event},"shared_secret":"abc123"}}"#),
        json!({"mapping": null, "event_text": "{\"b\":1.50,\"10\":\"\\u00e9\\ud800\"}", "shared_secret": "abc123"}).to_string(),
        String::new(),
        "nonsense".to_owned(),
        format!(r#"{{"event":{event},"evnt":1}}"#),
        r#"{"mapping":{}}"#.to_owned(),
        r#"{"event":[]}"#.to_owned(),
        r#"{"event_text":"{"}"#.to_owned(),
        format!(r#"{{"event":{event},"shared_secret":5}}"#),
        format!(r#"{{"event":{event},"mapping":{{"method":"GET"}}}}"#),
        format!(r#"{{"event":{event},"mapping":{{"data":{{"a":[{{"@liquid":"x"}}],"b":{{"@path":1}}}}}}}}"#),
        format!(r#"{{"event":{event},"mapping":{{"data":{{"@path":"$.nope"}}}}}}"#),
        format!(r#"{{"event":{event},"mapping":{{"url":{{"@path":"$.userId"}}}}}}"#),
    ];
    let (code, answers) = render(&[], &lines);
    assert_eq!(code, 0);
    insta::assert_snapshot!(shown(&answers), @r#"
    {"matched":true,"request":{"method":"POST","url":"https://example.com/","headers":{"content-type":"application/json","user-agent":"Postrider/VERSION"},"body":"{\"type\":\"track\",\"userId\":\"u1\",\"n\":1}"}}
    {"matched":true,"request":{"method":"PUT","url":"https://u1.example.com/","headers":{"content-type":"application/json","user-agent":"Postrider/VERSION","x-a":"b","x-signature":"mine"},"body":"{\"id\":\"u1\"}"}}
    {"matched":true,"request":{"method":"POST","url":"https://example.com/","headers":{"content-type":"application/json","user-agent":"Postrider/VERSION","x-signature":"8e1f22e8ce3d82efeaaf6dc9bd1a0f83013263dc"},"body":"{\"10\":\"é\\ud800\",\"b\":1.5}"}}
    {"error":{"path":"","message":"not such an object: expected ident at line 1 column 2"}}
    {"error":{"path":"","message":"not such an object: unknown field `evnt`, expected one of `mapping`, `event`, `event_text`, `shared_secret` at line 1 column 54"}}
    {"error":{"path":"event","message":"is needed, or event_text"}}
    {"error":{"path":"event","message":"should be a JSON object"}}
    {"error":{"path":"event_text","message":"not JSON: expected a property name in double quotes at line 1 column 2"}}
    {"error":{"path":"shared_secret","message":"should be text"}}
    {"error":{"path":"method","message":"unknown variant `GET`, expected one of `POST`, `PUT`, `PATCH`"}}
    {"error":{"path":"data.a[0].@liquid","message":"Liquid templates are not supported: use @template, @if, @case or @replace, or an insert function","more":[{"path":"data.b.@path","message":"should be a path such as \"$.userId\", or a directive that gives one"}]}}
    {"error":{"path":"data","message":"should give an object and gives nothing"}}
    {"error":{"path":"url","message":"gives an invalid URL: relative URL without a base"}}
    "#);
    assert_eq!(render(&["--strict"], &lines).0, 1);
    assert_eq!(render(&["--strict"], &lines[..2]).0, 0);
}

#[test]
fn a_field_that_is_not_known_is_named() {
    let line = r#"{"event":{},"mapping":{"colour":"red"}}"#;
    let (_, answers) = render(&[], &[line.to_owned()]);
    assert_eq!(answers[0]["error"]["path"], "colour");
}

#[test]
fn fields_that_are_null_are_left_out_and_functions_are_not_run() {
    let plain = r#"{"event":{"a":1},"mapping":{"trigger":null,"url":null,"method":null,"headers":null,"data":null}}"#;
    let function =
        r#"{"event":{"a":1},"mapping":{"function":{"source":"function onTrack(e) { return e }"}}}"#;
    let (_, answers) = render(&[], &[plain.to_owned(), function.to_owned()]);
    assert_eq!(answers[0]["request"]["body"], "{\"a\":1}");
    assert_eq!(answers[1]["error"]["path"], "function");
}

fn shown(answers: &[Value]) -> String {
    let version = concat!("Postrider/", env!("CARGO_PKG_VERSION"));
    let lines =
        answers.iter().map(|answer| answer.to_string().replace(version, "Postrider/VERSION"));
    lines.collect::<Vec<_>>().join("\n")
}

#[derive(Deserialize)]
struct Vector {
    body: String,
    x_signature: String,
}

#[test]
fn the_vectors_of_mappings_render_from_the_command_line() {
    let vectors: Vec<&str> = include_str!("../vectors/mapping.jsonl").lines().collect();
    let lines: Vec<String> = vectors
        .iter()
        .map(|line| {
            // The event's text goes in as it stands: its numbers are not read here.
            let (head, tail) = line.split_once(",\"event\":").unwrap();
            let (event, _) = tail.rsplit_once(",\"shared_secret\":").unwrap();
            format!("{{\"mapping\":{head}}},\"event\":{event},\"shared_secret\":\"abc123\"}}")
        })
        .collect();
    let (code, answers) = render(&["--strict"], &lines);
    assert_eq!((code, answers.len()), (0, 200), "{answers:?}");
    for (line, answer) in vectors.iter().zip(answers) {
        let expected: Vector = serde_json::from_str(line).unwrap();
        assert_eq!(answer["request"]["body"], expected.body, "{line}");
        assert_eq!(answer["request"]["headers"]["x-signature"], expected.x_signature, "{line}");
    }
}
