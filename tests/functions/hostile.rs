//! Functions that hang, allocate, crash or probe the system: each fails with a clear error and does not
//! affect the next call.

use std::time::Duration;

use futures_util::future::join_all;
use postrider::domain::attempt::Outcome;
use postrider::domain::id::MappingId;
use serde_json::json;

use super::{LONG, failed, function, given, patient, pool, run, track};

const GOOD: &str = "function onTrack(event) { return event }";

/// A timeout that expires in a test, and is long enough for calls that succeed on a slow machine.
const SHORT: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_hanging_function_is_killed_and_its_console_output_recorded() {
    let pool = pool(|options| (options.timeout, options.workers) = (SHORT, 12));
    let hangs = [
        "while (true);",
        "/^(a+)+$/.test('a'.repeat(60) + '!');",
        "await (async () => { for (;;) await 0 })();",
        "try { for (;;) { try { while (true); } catch {} } } finally { while (true); }",
        "event.toJSON = () => { for (;;); };",
    ];
    let run = async |hangs: &str| {
        let body = format!("console.log('so far'); {hangs} return event");
        run(&pool, &format!("async function onTrack(event) {{ {body} }}")).await
    };
    let all = join_all(hangs.into_iter().map(run)).await;
    for (ran, hangs) in all.into_iter().zip(hangs) {
        let failure = ran.event.unwrap_err();
        assert_eq!(failure.outcome, Outcome::FunctionTimeout, "{hangs}");
        assert_eq!(failure.message, "the function took longer than 3 s");
        assert_eq!(ran.console.unwrap(), "log: so far\n");
    }
    assert_eq!(given(&pool, GOOD).await["event"], "Bought");
    let (outcome, _) = failed(&pool, "while (true);").await;
    assert_eq!(outcome, Outcome::FunctionTimeout, "loading has the same limit");
}

#[tokio::test]
async fn a_function_over_the_memory_limit_fails_with_a_clear_error() {
    let pool = patient();
    for takes in [
        "const all = []; for (;;) all.push(new Array(1000).fill(1))",
        "const all = []; while (1) all.push(all.length)",
        "let text = 'x'; for (;;) text += text + Math.random()",
        "new Uint8Array(2 ** 30).fill(1)",
        "'x'.repeat(2 ** 28).split('')",
        "const all = []; for (;;) { try { all.push(new Array(1e6).fill(1)) } catch { throw new Error('out of memory') } }",
        "const all = {}; for (let i = 0; ; i++) all['key' + i] = {i}",
    ] {
        let source = format!("function onTrack(event) {{ {takes}; return event }}");
        let (outcome, message) = failed(&pool, &source).await;
        assert_eq!(outcome, Outcome::Function, "{takes}: {message}");
        assert!(
            ["memory", "length", "too long"].iter().any(|it| message.contains(it)),
            "{takes}: {message}"
        );
        assert_eq!(given(&pool, GOOD).await["event"], "Bought");
    }
}

#[tokio::test]
async fn a_worker_over_the_memory_limit_is_killed() {
    let pool = pool(|options| {
        options.memory_bytes = 48 * 1024 * 1024;
        options.engine_memory_bytes = 1024 * 1024 * 1024;
    });
    let source = "function onTrack() { const a = new Uint8Array(2 ** 26).fill(7); while (a); }";
    let (outcome, message) = failed(&pool, source).await;
    assert_eq!(outcome, Outcome::Function);
    let used = message.strip_prefix("the function used ").expect("what it used");
    let used = used.strip_suffix(" MiB of memory: its limit is 48 MiB").expect("and its limit");
    assert!((49..=65).contains(&used.parse::<u32>().unwrap()), "{message}");
    assert_eq!(given(&pool, GOOD).await["event"], "Bought");
}

#[tokio::test]
async fn the_memory_limit_is_what_the_function_uses_without_the_runtimes_own() {
    const MIB: usize = 1024 * 1024;
    let waits = "const until = Date.now() + 200; while (Date.now() < until);";
    // The process: most of the limit is used, for longer than it takes to see it.
    let small = pool(|options| {
        (options.memory_bytes, options.engine_memory_bytes) = (24 * MIB, 1024 * MIB);
    });
    let source = format!(
        "function onTrack(event) {{ const a = new Uint8Array(18 * 1024 * 1024).fill(7); {waits} \
         event.length = a.length; return event }}"
    );
    assert_eq!(given(&small, &source).await["length"], 18 * 1024 * 1024);
    // The engine: it needs a part of a megabyte itself.
    let small = pool(|options| options.engine_memory_bytes = MIB);
    let allocates = |bytes: usize| {
        format!(
            "function onTrack(event) {{ event.length = new Uint8Array({bytes}).length; return event }}"
        )
    };
    assert_eq!(given(&small, &allocates(MIB - 256 * 1024)).await["length"], MIB - 256 * 1024);
    let (outcome, message) = failed(&small, &allocates(MIB)).await;
    assert_eq!(outcome, Outcome::Function);
    assert!(message.contains("out of memory"), "{message}");
    assert!(message.ends_with("the function needs more than its limit of 1 MiB"), "{message}");
}

#[tokio::test]
async fn deep_recursion_is_a_clean_error() {
    let pool = patient();
    for deep in [
        "const f = () => f() + 1; f()",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return {a}",
        "JSON.parse('['.repeat(1e6))",
        "let f = 'x'; for (let i = 0; i < 1e5; i++) f = `(${f})`; eval(f)",
        "new RegExp('('.repeat(1e5) + ')'.repeat(1e5))",
        "class A { toString() { return `${this}` } } `${new A()}`",
    ] {
        let source = format!("function onTrack(event) {{ {deep}; return event }}");
        let (outcome, message) = failed(&pool, &source).await;
        assert_eq!(outcome, Outcome::Function, "{deep}: {message}");
        assert!(message.contains("Error: "), "{deep}: {message}");
        assert_eq!(given(&pool, GOOD).await["event"], "Bought");
    }
}

#[tokio::test]
async fn functions_have_no_network_no_files_and_no_modules() {
    let pool = patient();
    for name in [
        "fetch",
        "require",
        "std",
        "os",
        "bjson",
        "process",
        "Deno",
        "Bun",
        "XMLHttpRequest",
        "WebSocket",
        "Worker",
        "setTimeout",
        "setInterval",
        "scriptArgs",
        "print",
        "load",
        "module",
        "exports",
        "loadFile",
    ] {
        let event =
            given(&pool, &format!("function onTrack(e) {{ e.is = typeof {name}; return e }}"))
                .await;
        assert_eq!(event["is"], "undefined", "{name}");
    }
    for module in ["fs", "std", "os", "qjs:os", "/etc/passwd", "./a.js", "data:text/javascript,1"] {
        let source = format!("async function onTrack(e) {{ await import('{module}'); return e }}");
        let (outcome, message) = failed(&pool, &source).await;
        assert_eq!(outcome, Outcome::Function, "{module}");
        assert!(message.contains("could not load module"), "{message}");
    }
    let (outcome, _) = failed(&pool, "import fs from 'fs'; function onTrack(e) { return e }").await;
    assert_eq!(outcome, Outcome::Function);
}

#[tokio::test]
async fn mappings_do_not_share_globals() {
    let pool = pool(|options| options.workers = 1);
    let counts = "var calls = globalThis.calls || 0; \
         function onTrack(e) { calls++; Object.prototype.spoilt = 1; Array.prototype.map = null; \
         JSON.stringify = () => '{}'; globalThis.calls = calls; e.calls = calls; return e }";
    for expected in 1..=3 {
        for mapping in 1..=20 {
            let made =
                pool.run(MappingId(mapping), &function(counts), track("a")).await.event.unwrap();
            let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
            // Sixteen isolates stay loaded: of twenty called in turn, each is evicted before its next call.
            assert!(expected >= 1 && made["calls"] == json!(1), "{made}");
        }
    }
    let looks = "function onTrack(e) { e.found = [typeof calls, ({}).spoilt === undefined, \
         [1].map(x => x + 1), JSON.stringify([1])]; return e }";
    let made = pool.run(MappingId(21), &function(looks), track("a")).await.event.unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
    assert_eq!(made["found"], json!(["undefined", true, [2], "[1]"]));
}

#[tokio::test]
async fn globals_survive_calls_until_an_error() {
    let pool = pool(|options| options.workers = 1);
    let counts = "let calls = 0; function onTrack(e) { calls++; \
         if (e.event === 'fails') throw new Error('no'); e.calls = calls; return e }";
    let mut seen = Vec::new();
    for name in ["a", "b", "fails", "c", "d"] {
        let made = pool.run(MappingId(1), &function(counts), track(name)).await.event;
        let made = made.map(|it| serde_json::from_slice::<serde_json::Value>(&it).unwrap());
        seen.push(made.map_or(0, |it| it["calls"].as_i64().unwrap()));
    }
    assert_eq!(seen, [1, 2, 0, 1, 2]);
}

#[tokio::test]
async fn one_hanging_mapping_does_not_starve_the_others() {
    let pool = pool(|options| options.workers = 4);
    let hangs = function("function onTrack() { for (;;); }");
    let hanging = join_all((0..20).map(|_| pool.run(MappingId(1), &hangs, track("hangs"))));
    let good = function(GOOD);
    let others = async {
        for number in 0..50 {
            let ran = pool.run(MappingId(2 + number % 5), &good, track("works")).await;
            assert!(ran.event.is_ok());
        }
    };
    tokio::select! {
        biased;
        _ = hanging => panic!("they hang"),
        () = others => {}
    }
}

#[tokio::test]
async fn several_hanging_mappings_do_not_starve_the_others() {
    let pool = pool(|options| {
        options.workers = 4;
        options.memory_bytes = 48 * 1024 * 1024;
        options.engine_memory_bytes = 1024 * 1024 * 1024;
    });
    let source = "function onTrack(e) { \
         const all = e.event === 'grows' ? new Uint8Array(2 ** 26).fill(7) : 1; while (all); }";
    let bad = function(source);
    let run = |mapping, name| pool.run(MappingId(mapping), &bad, track(name));
    let killed = join_all((1..=6).map(|mapping| run(mapping, "grows"))).await;
    assert!(killed.iter().all(|it| it.event.is_err()));
    let hanging = join_all((1..=6).map(|mapping| run(mapping, "hangs")));
    let good = function(GOOD);
    let others = join_all((7..=9).map(|mapping| pool.run(MappingId(mapping), &good, track("a"))));
    tokio::select! {
        biased;
        _ = hanging => panic!("they hang"),
        others = others => assert!(others.iter().all(|it| it.event.is_ok())),
    }
}

#[tokio::test]
async fn waiting_for_a_worker_times_out() {
    let pool = pool(|options| {
        options.workers = 1;
        options.queue_timeout = Duration::ZERO;
    });
    let hangs = function("function onTrack() { for (;;); }");
    let (hanging, waiting) = (
        pool.run(MappingId(1), &hangs, track("hangs")),
        pool.run(MappingId(2), &hangs, track("waits")),
    );
    let ran = tokio::select! {
        biased;
        _ = hanging => panic!("it hangs"),
        ran = waiting => ran,
    };
    let failure = ran.event.unwrap_err();
    assert_eq!(failure.outcome, Outcome::FunctionTimeout);
    assert_eq!(failure.message, "no function worker was free within 0 s");
}

#[tokio::test]
async fn one_hanging_event_does_not_fail_the_rest_of_its_batch() {
    let pool = pool(|options| options.timeout = SHORT);
    let source = "function onTrack(e) { while (e.event === 'hangs'); return e }";
    let events = [track("a"), track("hangs"), track("b"), track("hangs"), track("c")];
    let ran = pool.run_batch(MappingId(1), &function(source), &events).await;
    let ends: Vec<_> = ran.iter().map(|it| it.event.as_ref().err().map(|it| it.outcome)).collect();
    let killed = Some(Outcome::FunctionTimeout);
    assert_eq!(ends, [None, killed, None, killed, None]);
    let together = "function onBatch(all) { while (all.length > 2); return all }";
    let ran = pool.run_batch(MappingId(1), &function(together), &events).await;
    assert!(ran.iter().all(|it| it.event.as_ref().is_err_and(|it| Some(it.outcome) == killed)));
    assert!(ran[0].duration < LONG);
}

#[tokio::test]
async fn a_slow_batch_ends_at_the_run_timeout() {
    let pool = pool(|options| options.run_timeout = Duration::from_millis(400));
    let source =
        "function onTrack(e) { const at = Date.now(); while (Date.now() < at + 150); return e }";
    let events: Vec<_> = (0..100).map(|number| track(&number.to_string())).collect();
    // A worker is ready before: its start may take longer than the timeout.
    let quick = function("function onTrack(e) { return e }");
    while pool.run(MappingId(1), &quick, track("a")).await.event.is_err() {}
    let ran = pool.run_batch(MappingId(1), &function(source), &events).await;
    assert_eq!(ran.len(), 100);
    let failure = ran[99].event.as_ref().unwrap_err();
    assert_eq!(failure.outcome, Outcome::FunctionTimeout);
    assert_eq!(failure.message, "the function took longer than 0.4 s for the whole batch");
}
