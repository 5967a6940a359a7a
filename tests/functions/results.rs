//! Results of functions: the event byte for byte, errors by kind, console output, batches.

use bytes::Bytes;
use postrider::domain::attempt::Outcome;
use postrider::domain::id::MappingId;
use postrider::domain::mapping::FunctionDefinition;
use postrider::functions::Function;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{failed, function, given, patient, pool, run, track};

const ONE: MappingId = MappingId(1);

#[tokio::test]
async fn the_returned_event_is_the_result() {
    let pool = patient();
    for source in [
        "function onTrack(event) { event.properties.b = 2; return event }",
        "async function onTrack(event) { event.properties.b = await 2; return event }",
        "const onTrack = async event => ({...event, properties: {a: 1, b: 2}})",
        "let onTrack = event => new Promise(done => done(event)).then(e => { e.properties.b = 2; return e })",
        "function onBatch(events) { events[0].properties.b = 2; return events }",
    ] {
        let event = given(&pool, source).await;
        assert_eq!(event["properties"], json!({"a": 1, "b": 2}), "{source}");
    }
}

#[tokio::test]
async fn each_type_has_a_handler_and_types_without_one_are_dropped() {
    let pool = patient();
    for (kind, handler) in [
        ("track", "onTrack"),
        ("identify", "onIdentify"),
        ("page", "onPage"),
        ("screen", "onScreen"),
        ("group", "onGroup"),
        ("alias", "onAlias"),
        ("delete", "onDelete"),
    ] {
        let event = Bytes::from(json!({"type": kind}).to_string());
        let its = function(&format!(
            "function {handler}(event) {{ event.by = '{handler}'; return event }}"
        ));
        let made = pool.run(ONE, &its, event.clone()).await.event.unwrap();
        let made: Value = serde_json::from_slice(&made).unwrap();
        assert_eq!(made["by"], handler);
        let other = if kind == "track" { "onPage" } else { "onTrack" };
        let others = function(&format!("function {other}(event) {{ return event }}"));
        let failure = pool.run(ONE, &others, event).await.event.unwrap_err();
        assert_eq!(failure.outcome, Outcome::Dropped);
        assert_eq!(failure.message, format!("EventNotSupported: the function has no {handler}"));
    }
}

#[tokio::test]
async fn settings_are_passed_afresh_with_every_call() {
    let pool = patient();
    let source = "function onTrack(event, settings) { event.key = settings.key; settings.key = 'spoilt'; return event }";
    let settings = json!({"key": "k-1"}).as_object().unwrap().clone();
    let definition = FunctionDefinition { source: source.to_owned(), settings };
    let function = Function::of(&definition).unwrap();
    for _ in 0..3 {
        let made = pool.run(ONE, &function, track("a")).await.event.unwrap();
        let made: Value = serde_json::from_slice(&made).unwrap();
        assert_eq!(made["key"], "k-1");
    }
    assert!(!format!("{function:?}").contains("k-1"));
}

#[derive(Deserialize)]
struct Case {
    text: String,
    stringified: String,
}

#[tokio::test]
async fn unchanged_events_are_returned_byte_for_byte() {
    let cases: Vec<Case> = include_str!("../vectors/json.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(cases.len(), 200);
    let mut events: Vec<_> = cases
        .iter()
        .map(|case| Bytes::from(format!("{{\"type\":\"track\",\"v\":{}}}", case.text)))
        .collect();
    let deep = format!("{}1{}", "[".repeat(510), "]".repeat(510));
    events.push(Bytes::from(format!("{{\"type\":\"track\",\"v\":{deep}}}")));
    let pool = patient();
    let same = function("function onTrack(event) { return event }");
    let ran = pool.run_batch(ONE, &same, &events).await;
    let wanted = cases.iter().map(|case| &case.stringified).chain([&deep]);
    for (ran, wanted) in ran.into_iter().zip(wanted) {
        let made = ran.event.unwrap();
        let made = std::str::from_utf8(&made).unwrap();
        assert_eq!(made, format!("{{\"type\":\"track\",\"v\":{wanted}}}"));
    }
}

#[tokio::test]
async fn errors_map_to_outcomes_and_name_the_position() {
    let pool = patient();
    for (thrown, outcome, message) in [
        ("throw new DropEvent('no')", Outcome::Dropped, "DropEvent: no (line 1, column "),
        (
            "throw new EventNotSupported('x')",
            Outcome::Dropped,
            "EventNotSupported: x (line 1, column ",
        ),
        (
            "throw new RetryError('later')",
            Outcome::FunctionRetry,
            "RetryError: later (line 1, column ",
        ),
        (
            "throw new InvalidEventPayload('a')",
            Outcome::Function,
            "InvalidEventPayload: a (line 1, column ",
        ),
        (
            "throw new ValidationError('b')",
            Outcome::Function,
            "ValidationError: b (line 1, column ",
        ),
        ("event.x.y", Outcome::Function, "TypeError: cannot read property 'y' of undefined"),
        ("throw 'a text'", Outcome::Function, "it threw a text, which is not an Error"),
        ("throw {a: 1}", Outcome::Function, "it threw {\"a\":1}, which is not an Error"),
        ("throw null", Outcome::Function, "it threw null, or ran out of memory"),
        (
            "throw {toJSON() { throw 1 }}",
            Outcome::Function,
            "it threw (a value that cannot be shown), which",
        ),
        ("throw '\\ud800'", Outcome::Function, "it threw \u{fffd}, which is not an Error"),
    ] {
        for how in ["function", "async function"] {
            let (is, said) = failed(&pool, &format!("{how} onTrack(event) {{ {thrown} }}")).await;
            assert_eq!(is, outcome, "{thrown}");
            let known = how == "async function" || said.starts_with(message);
            assert!(known, "{thrown}: {said}");
        }
    }
}

#[tokio::test]
async fn values_that_are_not_events_are_refused() {
    let pool = patient();
    for (returned, message) in [
        ("undefined", "returned undefined, not an event"),
        ("null", "returned null, not an event"),
        ("'text'", "returned string, not an event"),
        ("[event]", "returned an array, not an event"),
        ("() => event", "returned a function, not an event"),
        ("{ toJSON() { return 'x' } }", "returned a value that is not a JSON object"),
        ("{ a: 'x'.repeat(2 ** 20) }", "returned an event of more than 1 MiB"),
    ] {
        let (outcome, said) = failed(&pool, &format!("var onTrack = event => ({returned})")).await;
        assert_eq!(outcome, Outcome::Function);
        assert_eq!(said, format!("InvalidEventPayload: onTrack {message}"));
    }
    for (returned, message) in [("(event.me = event)", "circular"), ("{ a: 1n }", "BigInt")] {
        let (outcome, said) = failed(&pool, &format!("var onTrack = event => ({returned})")).await;
        assert_eq!(outcome, Outcome::Function);
        assert!(said.starts_with("TypeError: ") && said.contains(message), "{said}");
    }
    let never = "function onTrack() { return new Promise(() => {}) }";
    let (outcome, said) = failed(&pool, never).await;
    assert_eq!(outcome, Outcome::Function);
    assert!(said.starts_with("its promise never settles"), "{said}");
}

#[tokio::test]
async fn console_output_is_recorded_up_to_its_limit() {
    let pool = patient();
    let source = "function onTrack(event) { \
         console.log('hello', 1, {a: [true]}, undefined, new Error('e'), '\\ud800'); \
         console.warn(event.event); return event }";
    let console = run(&pool, source).await.console.unwrap();
    assert_eq!(console, "log: hello 1 {\"a\":[true]} undefined Error: e \u{fffd}\nwarn: Bought\n");
    assert_eq!(run(&pool, "function onTrack(event) { return event }").await.console, None);
    for source in [
        "function onTrack(event) { console.log('€'.repeat(1e6)); return event }",
        "function onTrack(event) { for (let i = 0; i < 1e5; i++) console.log('€uro', i); return event }",
    ] {
        let ran = run(&pool, source).await;
        assert!(ran.event.is_ok());
        let console = ran.console.unwrap();
        assert!(console.len() < 8_400, "{}", console.len());
        assert!(console.ends_with("(truncated: more than 8 KiB)\n"));
    }
}

async fn batch(source: &str, events: &[Bytes]) -> Vec<Result<Value, Outcome>> {
    let ran = patient().run_batch(ONE, &function(source), events).await;
    let made = ran.into_iter();
    made.map(|ran| match ran.event {
        Ok(event) => Ok(serde_json::from_slice::<Value>(&event).unwrap()["event"].clone()),
        Err(failure) => Err(failure.outcome),
    })
    .collect()
}

#[tokio::test]
async fn batch_results_are_by_position() {
    let events = [track("a"), track("b"), track("c")];
    let upper = "function onBatch(events) { return events.map(e => ({...e, event: e.event.toUpperCase()})) }";
    assert_eq!(batch(upper, &events).await, [Ok(json!("A")), Ok(json!("B")), Ok(json!("C"))]);
    let one_bad = "function onBatch(events) { events[1] = null; return events }";
    let wanted = [Ok(json!("a")), Err(Outcome::Function), Ok(json!("c"))];
    assert_eq!(batch(one_bad, &events).await, wanted);
    for (all_bad, outcome) in [
        ("events => events.slice(1)", Outcome::Function),
        ("events => ({})", Outcome::Function),
        ("events => { throw new RetryError('x') }", Outcome::FunctionRetry),
        ("async events => { throw new DropEvent('x') }", Outcome::Dropped),
    ] {
        let made = batch(&format!("const onBatch = {all_bad}"), &events).await;
        assert_eq!(made, [Err(outcome), Err(outcome), Err(outcome)], "{all_bad}");
    }
    let one_by_one =
        "function onTrack(e) { if (e.event === 'b') throw new DropEvent('b'); return e }";
    let wanted = [Ok(json!("a")), Err(Outcome::Dropped), Ok(json!("c"))];
    assert_eq!(batch(one_by_one, &events).await, wanted);
}

#[tokio::test]
async fn large_batches_are_split_into_calls() {
    let events: Vec<_> = (0..4_000).map(|number| track(&number.to_string())).collect();
    for source in
        ["function onTrack(event) { return event }", "function onBatch(all) { return all }"]
    {
        let made = batch(source, &events).await;
        assert_eq!(made.len(), 4_000);
        for (number, made) in made.into_iter().enumerate() {
            assert_eq!(made, Ok(json!(number.to_string())));
        }
    }
}

#[tokio::test]
async fn each_event_of_a_batch_has_its_own_console_output() {
    let events = [track("a"), track("b"), track("c")];
    let consoles = async |source: &str| {
        let ran = patient().run_batch(ONE, &function(source), &events).await;
        ran.into_iter().map(|it| it.console.unwrap_or_default()).collect::<Vec<_>>()
    };
    let each = "function onTrack(e) { if (e.event !== 'b') console.info(e.event); return e }";
    assert_eq!(consoles(each).await, ["info: a\n", "", "info: c\n"]);
    let all = "function onBatch(all) { console.info(all.length); return all }";
    assert_eq!(consoles(all).await, ["info: 3\n", "", ""]);
}

#[tokio::test]
async fn promises_and_thenables_of_a_handler_are_awaited() {
    let pool = patient();
    for source in [
        "function onBatch(events) { return events.map(async event => { event.properties.b = 2; return event }) }",
        "function onBatch(events) { return {then: done => done(events.map(e => ({...e, properties: {a: 1, b: 2}})))} }",
        "function onBatch(events) { return events.map(e => ({then: done => done({...e, properties: {a: 1, b: 2}})})) }",
        "const onBatch = async events => { events[0].properties.b = 2; return events.map(e => Promise.resolve(e)) }",
        "function onTrack(event) { event.properties.b = 2; return {then(done) { done(event) }} }",
    ] {
        let event = given(&pool, source).await;
        assert_eq!(event["properties"], json!({"a": 1, "b": 2}), "{source}");
    }
}

#[tokio::test]
async fn what_json_prints_as_an_empty_object_is_an_error_and_not_delivered() {
    let pool = patient();
    for (value, message) in [
        ("new Map([['a', 1]])", "a Map, not an event"),
        ("new Set([1])", "a Set, not an event"),
        ("new Error('no')", "an Error, not an event: Error: no"),
        ("new Date(0)", "a Date, not an event"),
        ("/x/", "a RegExp, not an event"),
        ("new Uint8Array(2)", "a typed array, not an event"),
        ("new (class extends Map {})", "a Map, not an event"),
        ("{a: new Map([['a', 1]])}", "an event with a Map in it"),
        ("{a: [{b: Promise.resolve(1)}]}", "an event with a Promise in it: await it"),
        ("{a: new Error('no')}", "an event with an Error in it"),
        ("{a: new Map().values()}", "an event with an iterator in it"),
        ("[1][Symbol.iterator]()", "an iterator, not an event"),
        ("{a: (function* () { yield 1 })()}", "an event with an iterator in it"),
        ("(async function* () { yield 1 })()", "an async iterator, not an event"),
        ("{a: Object(Symbol('s'))}", "an event with a Symbol object in it"),
    ] {
        for source in [
            format!("function onTrack(event) {{ return ({value}) }}"),
            format!("async function onTrack(event) {{ return ({value}) }}"),
            format!("function onBatch(events) {{ return [({value})] }}"),
            format!("function onBatch(events) {{ return [Promise.resolve({value})] }}"),
        ] {
            let (outcome, error) = failed(&pool, &source).await;
            assert_eq!(outcome, Outcome::Function, "{source}");
            assert!(error.contains(message), "{source}: {error}");
        }
    }
    for source in [
        "function onTrack() { return {} }",
        "function onTrack(event) { return {a: {}, b: [], d: new Date(0), n: new Number(1)} }",
        "function onTrack(event) { return new (class { constructor() { this.a = 1 } }) }",
        "function onTrack(event) { return Object.assign(Object.create(null), event) }",
    ] {
        given(&pool, source).await;
    }
    let (outcome, error) =
        failed(&pool, "function onTrack() { return new RetryError('later') }").await;
    assert_eq!(outcome, Outcome::FunctionRetry, "{error}");
}

#[tokio::test]
async fn a_rejected_promise_in_a_batch_fails_its_own_event_only() {
    let pool = patient();
    let source = "function onBatch(events) { return events.map(async event => { \
                  if (event.event === 'bad') throw new DropEvent('bad'); return event }) }";
    let events = [track("good"), track("bad"), track("also good")];
    let ran = pool.run_batch(ONE, &function(source), &events).await;
    let outcomes: Vec<_> = ran.into_iter().map(|it| it.event.map_err(|it| it.outcome)).collect();
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    assert_eq!(outcomes[1], Err(Outcome::Dropped));
}

#[tokio::test]
async fn what_needs_intl_is_an_error() {
    let pool = patient();
    for call in [
        "(1234.5).toLocaleString()",
        "(1234.5).toLocaleString('de-DE', {style: 'currency', currency: 'EUR'})",
        "10n.toLocaleString('de')",
        "new Date(0).toLocaleString('en-GB')",
        "new Date(0).toLocaleDateString()",
        "new Date(0).toLocaleTimeString()",
        "[1234.5].toLocaleString()",
        "'a'.localeCompare('B')",
        "'i'.toLocaleUpperCase('tr')",
    ] {
        let source = format!("function onTrack(event) {{ event.x = {call}; return event }}");
        let (outcome, error) = failed(&pool, &source).await;
        assert_eq!(outcome, Outcome::Function, "{call}");
        assert!(error.contains("Intl"), "{call}: {error}");
    }
    let source = "function onTrack(event) { event.x = 'i'.toLocaleUpperCase() + ({}).toLocaleString(); return event }";
    assert_eq!(given(&pool, source).await["x"], "I[object Object]");
}

#[tokio::test]
async fn the_text_of_an_error_does_not_end_the_worker() {
    let pool = pool(|options| options.workers = 1);
    let keeps = "let calls = 0; function onTrack(event) { event.calls = ++calls; return event }";
    assert_eq!(given(&pool, keeps).await["calls"], 1);
    for text in ["out of memory", "InternalError: out of memory"] {
        for kind in ["Error", "InternalError", "RetryError"] {
            let source = format!("function onTrack() {{ throw new {kind}('{text}') }}");
            let run = pool.run(MappingId(2), &function(&source), track("a")).await;
            assert!(run.event.is_err());
        }
    }
    assert_eq!(given(&pool, keeps).await["calls"], 2, "the same worker with the same isolate");
}
