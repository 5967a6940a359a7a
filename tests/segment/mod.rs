//! Differential test: generated triggers and mappings, evaluated by Segment's published packages in Node
//! and by `postrider render`, have the same results. A case in which Segment's code throws has to be
//! refused, as a mapping or for that event.
//!
//! Not generated, because the two differ by design: names that JavaScript's
//! objects inherit, and, of triggers, `and` beside `or` without parentheses, groups in groups,
//! functions in groups, `!( … )` and single quotes, which Segment's parser gets wrong.

mod mappings;
mod requests;
mod triggers;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;
use serde_json::Value;

use crate::operator::render::render;

/// Generated cases; the seed is fixed, so that a difference is reproducible.
const CASES: u64 = 4_000;

/// One case, its parts as JSON text.
struct Case {
    trigger: String,
    data: String,
    event: String,
}

impl Case {
    fn generate(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        Self {
            trigger: triggers::trigger(&mut rng),
            data: mappings::data(&mut rng),
            event: mappings::event(&mut rng),
        }
    }

    fn for_segment(&self) -> String {
        let trigger = Value::from(self.trigger.as_str());
        format!("{{\"trigger\":{trigger},\"data\":{},\"event\":{}}}", self.data, self.event)
    }

    /// For us: the trigger with whole data, and the data with no trigger.
    fn for_postrider(&self) -> [String; 2] {
        let trigger = Value::from(self.trigger.as_str());
        [
            format!("{{\"mapping\":{{\"trigger\":{trigger}}},\"event\":{}}}", self.event),
            format!("{{\"mapping\":{{\"data\":{}}},\"event\":{}}}", self.data, self.event),
        ]
    }
}

#[derive(Deserialize)]
struct Verdict {
    matched: bool,
    body: Option<String>,
}

fn by_segment(cases: &[Case]) -> Vec<Verdict> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/segment");
    let mut child = Command::new("node")
        .arg(folder.join("evaluate.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node, as tests/sdk/install sets it up");
    let mut stdin = child.stdin.take().unwrap();
    let lines: Vec<String> = cases.iter().map(Case::for_segment).collect();
    let writing = std::thread::spawn(move || stdin.write_all((lines.join("\n") + "\n").as_bytes()));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "node: packages as tests/segment/install sets them up?");
    writing.join().unwrap().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn triggers_and_directives_have_the_results_of_segments_code() {
    let cases: Vec<Case> = (0..CASES).map(Case::generate).collect();
    let expected = by_segment(&cases);
    let lines: Vec<String> = cases.iter().flat_map(Case::for_postrider).collect();
    let (_, answers) = render(&[], &lines);
    assert_eq!((expected.len(), answers.len()), (cases.len(), 2 * cases.len()));
    let (mut differences, mut matched, mut rendered) = (Vec::new(), 0, 0);
    for ((case, expected), ours) in cases.iter().zip(&expected).zip(answers.chunks(2)) {
        matched += u64::from(expected.matched);
        rendered += u64::from(expected.body.is_some());
        if ours[0]["matched"] != expected.matched {
            differences.push(format!("{}\n  {}\n  {}", case.trigger, case.event, ours[0]));
        }
        // A result that is not an object is no payload: Segment's code returns it, its destination refuses it.
        let body = expected.body.as_deref().filter(|body| body.starts_with('{'));
        if ours[1]["request"]["body"].as_str() != body {
            let (data, event) = (&case.data, &case.event);
            differences.push(format!("{data}\n  {event}\n  {body:?}\n  {}", ours[1]));
        }
    }
    let shown: Vec<String> = differences.iter().take(5).cloned().collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), shown.join("\n"));
    // Cases that all fail or never match would prove nothing.
    assert!(matched > CASES / 5 && matched < CASES * 4 / 5, "{matched} of {CASES} matched");
    assert!(rendered > CASES / 2, "{rendered} of {CASES} rendered");
}

/// One of some.
fn pick<'t, T: ?Sized>(rng: &mut StdRng, from: &[&'t T]) -> &'t T {
    from[rng.random_range(0..from.len())]
}

/// True once in `times`.
fn one_in(rng: &mut StdRng, times: u32) -> bool {
    rng.random_range(0..times) == 0
}
