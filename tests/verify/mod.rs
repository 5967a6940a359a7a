//! The snippets of `docs/verify.md`, run in their languages, accept what the service signs and refuse everything else.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use postrider::domain::clock::{Clock as _, SystemClock};
use postrider::sender::{SignedContent, Signer};
use secrecy::SecretString;
use serde_json::json;

/// A body as it is sent: Python's `json.dumps` prints none of its values that way.
const BODY: &str = "{\"2\":[1.5,1e+21],\"10\":1,\"a\":\"é\",\"b\":\"\u{2028} \\\"x\\\"\",\"c\":{}}";

/// A language, and how its snippet is run.
struct Language {
    /// The word after the fence.
    fence: &'static str,
    snippet: &'static str,
    driver: &'static str,
    command: &'static [&'static str],
    /// Whether its snippet finds the first item of a batch.
    finds_first_item: bool,
}

/// A request, and whether its two signatures are valid.
struct Case {
    secret: String,
    headers: HeaderMap,
    body: String,
    expected: [bool; 2],
}

impl Case {
    fn json(&self) -> String {
        let headers: serde_json::Map<_, _> = self
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
            .collect();
        let body = STANDARD.encode(&self.body);
        json!({"secret": self.secret, "headers": headers, "body": body}).to_string()
    }

    fn base64(&self) -> String {
        let mut parts = vec![STANDARD.encode(&self.secret), STANDARD.encode(&self.body)];
        for (name, value) in &self.headers {
            parts.extend([name.to_string(), STANDARD.encode(value.as_bytes())]);
        }
        parts.join(" ")
    }
}

fn signed(secrets: &[&str], timestamp_s: i64, body: &str) -> HeaderMap {
    let secrets: Vec<_> = secrets.iter().map(|secret| SecretString::from(*secret)).collect();
    let mut headers = HeaderMap::new();
    let first = if body.starts_with('[') { BODY } else { body };
    let message = SignedContent {
        webhook_id: "dlv_1",
        timestamp_s,
        body: body.as_bytes(),
        first_event: Some(first.as_bytes()),
    };
    Signer::new(&secrets).sign(&mut headers, &message);
    headers
}

fn cases(finds_first_item: bool) -> Vec<Case> {
    let now = SystemClock::default().now().as_seconds();
    let mut cases = Vec::new();
    for secret in ["clé secrète", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        let mut add = |headers: HeaderMap, body: &str, expected: [bool; 2]| {
            let (secret, body) = (secret.to_owned(), body.to_owned());
            cases.push(Case { secret, headers, body, expected });
        };
        add(signed(&[secret], now, BODY), BODY, [true, true]);
        add(signed(&[secret, "the previous one"], now, BODY), BODY, [true, true]);
        add(signed(&["the next one", secret], now, BODY), BODY, [true, false]);
        add(signed(&[secret], now - 301, BODY), BODY, [false, true]);
        add(signed(&[secret], now + 900, BODY), BODY, [false, true]);
        add(signed(&["another"], now, BODY), BODY, [false, false]);
        let changed = BODY.replace("1.5", "1.6");
        add(signed(&[secret], now, BODY), &changed, [false, false]);
        let batch = format!("[{BODY},{changed}]");
        add(signed(&[secret], now, &batch), &batch, [true, finds_first_item]);
        let shortened = format!("[{BODY}]");
        add(signed(&[secret], now, &batch), &shortened, [false, finds_first_item]);
        for (name, value) in
            [("webhook-id", "other"), ("webhook-timestamp", "soon"), ("webhook-signature", "v1,")]
        {
            let mut headers = signed(&[secret], now, BODY);
            headers.insert(name, value.parse().unwrap());
            add(headers, BODY, [false, true]);
        }
    }
    cases
}

/// The code block of a language.
fn snippet(fence: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("```{fence}\n")).expect("a snippet");
    rest.split_once("```").unwrap().0.to_owned()
}

fn check(language: &Language) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(language.snippet), snippet(language.fence)).unwrap();
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify").join(language.driver);
    std::fs::copy(driver, folder.path().join(language.driver)).unwrap();
    let cases = cases(language.finds_first_item);
    let is_java = language.fence == "java";
    let lines: Vec<String> =
        cases.iter().map(|it| if is_java { it.base64() } else { it.json() }).collect();
    std::fs::write(folder.path().join("cases"), lines.join("\n") + "\n").unwrap();
    let [program, arguments @ ..] = language.command else { panic!("a command") };
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder.path())
        .env("GO111MODULE", "off")
        .stdin(Stdio::from(std::fs::File::open(folder.path().join("cases")).unwrap()))
        .output()
        .unwrap_or_else(|error| panic!("{program}, as tests/verify/install sets it up: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect();
    let expected: Vec<String> =
        cases.iter().map(|Case { expected: [one, two], .. }| format!("{one} {two}")).collect();
    assert_eq!(found, expected, "{}", language.fence);
}

#[test]
fn the_snippet_for_node_verifies_what_is_sent() {
    check(&Language {
        fence: "js",
        snippet: "snippet.mjs",
        driver: "driver.mjs",
        command: &["node", "driver.mjs"],
        finds_first_item: true,
    });
}

#[test]
fn the_snippet_for_python_verifies_what_is_sent() {
    check(&Language {
        fence: "python",
        snippet: "snippet.py",
        driver: "driver.py",
        command: &["python3", "driver.py"],
        finds_first_item: true,
    });
}

#[test]
fn the_snippet_for_go_verifies_what_is_sent() {
    check(&Language {
        fence: "go",
        snippet: "snippet.go",
        driver: "driver.go",
        command: &["go", "run", "snippet.go", "driver.go"],
        finds_first_item: false,
    });
}

#[test]
fn the_snippet_for_ruby_verifies_what_is_sent() {
    check(&Language {
        fence: "ruby",
        snippet: "snippet.rb",
        driver: "driver.rb",
        command: &["ruby", "driver.rb"],
        finds_first_item: false,
    });
}

#[test]
fn the_snippet_for_php_verifies_what_is_sent() {
    check(&Language {
        fence: "php",
        snippet: "snippet.php",
        driver: "driver.php",
        command: &["php", "driver.php"],
        finds_first_item: false,
    });
}

#[test]
fn the_snippet_for_java_verifies_what_is_sent() {
    check(&Language {
        fence: "java",
        snippet: "Verify.java",
        driver: "Driver.java",
        command: &["sh", "-c", "javac -encoding UTF-8 -d out *.java && java -cp out Driver"],
        finds_first_item: false,
    });
}
