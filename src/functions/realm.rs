//! A realm: one function's JavaScript, loaded with its own globals, memory limit and console. It runs
//! in a worker only. There is no network, no file system, no timer and no module to load in it.

use std::cell::Cell;
use std::rc::Rc;

use rquickjs::context::EvalOptions;
use rquickjs::{
    Array, Context, Ctx, Error, Function, IntoJs, Object, Persistent, Promise, Runtime, Value,
};
use serde_json::value::RawValue;

use super::frame::{Fault, FaultKind, Load, MAX_CONSOLE, MAX_EVENT, Told};

/// The handlers that a function may define, each with the event type it is for.
pub(super) const HANDLERS: [(&str, &str); 7] = [
    ("track", "onTrack"),
    ("identify", "onIdentify"),
    ("page", "onPage"),
    ("screen", "onScreen"),
    ("group", "onGroup"),
    ("alias", "onAlias"),
    ("delete", "onDelete"),
];
/// The handler for many events at once.
pub(super) const ON_BATCH: &str = "onBatch";

const PRELUDE: &str = include_str!("prelude.js");
/// The file that positions in errors name.
const FILE: &str = "function.js";
/// The engine's own limit of its stack: less than its thread has.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Where a realm tells what it has to tell.
pub(super) type Tell = Rc<dyn Fn(&Told)>;

/// A loaded function. The engine's values go before the engine does: the fields' order is that of
/// their end.
pub(super) struct Realm {
    describe: Persistent<Function<'static>>,
    handlers: Persistent<Object<'static>>,
    context: Context,
    console: Rc<Console>,
    settings: String,
}

/// What a function writes, as far as it is kept.
struct Console {
    tell: Tell,
    left: Cell<usize>,
}

impl Console {
    fn write(&self, line: &str) {
        let left = self.left.get();
        if left == 0 {
            return;
        }
        let whole = line.len() < left;
        let kept = if whole { line } else { &line[..line.floor_char_boundary(left)] };
        self.left.set(if whole { left - line.len() - 1 } else { 0 });
        (self.tell)(&Told::Console(kept.to_owned()));
        if !whole {
            let cut =
                format!("(more was written than the {} KiB that are kept)", MAX_CONSOLE >> 10);
            (self.tell)(&Told::Console(cut));
        }
    }
}

impl Realm {
    /// Loads a function: runs its source once, which defines its handlers.
    pub(super) fn load(load: &Load<'_>, memory_bytes: usize, tell: Tell) -> Result<Self, Fault> {
        let engine = |error: Error| wrong(format!("the engine does not start: {error}"));
        let runtime = Runtime::new().map_err(engine)?;
        runtime.set_memory_limit(memory_bytes);
        runtime.set_max_stack_size(STACK_BYTES);
        let context = Context::full(&runtime).map_err(engine)?;
        let console = Rc::new(Console { tell, left: Cell::new(MAX_CONSOLE) });
        let (describe, handlers) = context.with(|ctx| {
            let describe = prelude(&ctx, &console).map_err(engine)?;
            let mut options = EvalOptions::default();
            options.strict = false;
            options.filename = Some(FILE.to_owned());
            ctx.eval_with_options::<Value<'_>, _>(load.source.as_ref(), options)
                .map_err(|error| thrown(&ctx, &describe, error))?;
            drain(&ctx);
            let handlers: Object<'_> = ctx.eval(find_handlers()).map_err(engine)?;
            Ok((Persistent::save(&ctx, describe), Persistent::save(&ctx, handlers)))
        })?;
        let settings = load.settings.get().to_owned();
        Ok(Self { describe, handlers, context, console, settings })
    }

    /// The names of the handlers there are.
    pub(super) fn handlers(&self) -> Vec<String> {
        self.context.with(|ctx| {
            let Ok(handlers) = self.handlers.clone().restore(&ctx) else { return Vec::new() };
            let names = HANDLERS.iter().map(|(_, name)| *name).chain([ON_BATCH]);
            let defined = |name: &&str| handlers.get::<_, Function<'_>>(*name).is_ok();
            names.filter(defined).map(ToOwned::to_owned).collect()
        })
    }

    /// Begins with an event, or with all at once: the console is its own.
    pub(super) fn begin(&self) {
        self.console.left.set(MAX_CONSOLE);
    }

    /// One event through the handler of its type; through `onBatch` alone where that is all there is.
    pub(super) fn each(&self, event: &RawValue) -> Result<Box<RawValue>, Fault> {
        self.enter(|call| {
            let parsed: Object<'_> = call.parse(event.get())?;
            let kind: String = parsed.get("type").map_err(|error| call.thrown(error))?;
            let name = HANDLERS.iter().find(|(of, _)| *of == kind).map(|(_, name)| *name);
            if let Some((name, handler)) = name.and_then(|name| Some((name, call.handler(name)?))) {
                let returned = call.call(&handler, parsed)?;
                return call.print(name, returned);
            }
            if let Some(handler) = call.handler(ON_BATCH) {
                let events: Array<'_> = call.parse(&format!("[{}]", event.get()))?;
                let returned = call.array(call.call(&handler, events)?, 1)?;
                return call.print(ON_BATCH, call.item(&returned, 0)?);
            }
            let wanted = name.unwrap_or("handler");
            let words = format!("EventNotSupported: the function has no {wanted}");
            Err(Fault { kind: FaultKind::Dropped, words })
        })
    }

    /// Whether events can be called with all at once.
    pub(super) fn takes_batches(&self) -> bool {
        self.context.with(|ctx| {
            let handlers = self.handlers.clone().restore(&ctx);
            handlers.is_ok_and(|handlers| handlers.get::<_, Function<'_>>(ON_BATCH).is_ok())
        })
    }

    /// All events through `onBatch`: by position, what became of each.
    pub(super) fn batch(
        &self,
        events: &[&RawValue],
    ) -> Result<Vec<Result<Box<RawValue>, Fault>>, Fault> {
        self.enter(|call| {
            let handler = call.handler(ON_BATCH).ok_or_else(|| wrong("there is no onBatch"))?;
            let texts: Vec<_> = events.iter().map(|event| event.get()).collect();
            let parsed: Array<'_> = call.parse(&format!("[{}]", texts.join(",")))?;
            let returned = call.array(call.call(&handler, parsed)?, events.len())?;
            let print = |at| call.print(ON_BATCH, call.item(&returned, at)?);
            Ok((0..events.len()).map(print).collect())
        })
    }

    fn enter<T>(
        &self,
        work: impl for<'js> FnOnce(&Calling<'js, '_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.context.with(|ctx| {
            let lost = |error: Error| wrong(format!("the engine lost the function: {error}"));
            let describe = self.describe.clone().restore(&ctx).map_err(lost)?;
            let handlers = self.handlers.clone().restore(&ctx).map_err(lost)?;
            work(&Calling { ctx: ctx.clone(), describe, handlers, settings: &self.settings })
        })
    }
}

/// A call under way.
struct Calling<'js, 'a> {
    ctx: Ctx<'js>,
    describe: Function<'js>,
    handlers: Object<'js>,
    settings: &'a str,
}

impl<'js> Calling<'js, '_> {
    fn thrown(&self, error: Error) -> Fault {
        thrown(&self.ctx, &self.describe, error)
    }

    fn parse<T: rquickjs::FromJs<'js>>(&self, json: &str) -> Result<T, Fault> {
        let value = self.ctx.json_parse(json).map_err(|error| self.thrown(error))?;
        T::from_js(&self.ctx, value).map_err(|error| self.thrown(error))
    }

    fn handler(&self, name: &str) -> Option<Function<'js>> {
        self.handlers.get(name).ok()
    }

    /// Calls a handler and runs every job that it queued.
    fn call(&self, handler: &Function<'js>, given: impl IntoJs<'js>) -> Result<Value<'js>, Fault> {
        let settings: Value<'js> = self.parse(self.settings)?;
        let returned: Value<'js> =
            handler.call((given, settings)).map_err(|error| self.thrown(error))?;
        drain(&self.ctx);
        let Some(promise) = returned.as_promise() else { return Ok(returned) };
        self.settled(promise)
    }

    fn settled(&self, promise: &Promise<'js>) -> Result<Value<'js>, Fault> {
        match promise.result::<Value<'js>>() {
            Some(result) => result.map_err(|error| self.thrown(error)),
            None => {
                Err(wrong("its promise never settles: nothing is left to run that could settle it"))
            }
        }
    }

    fn array(&self, returned: Value<'js>, length: usize) -> Result<Array<'js>, Fault> {
        let invalid = |what: String| {
            Err(wrong(format!(
                "InvalidEventPayload: {ON_BATCH} should return {length} events, {what}"
            )))
        };
        match returned.as_array() {
            Some(array) if array.len() == length => Ok(array.clone()),
            Some(array) => invalid(format!("by position; it returned {}", array.len())),
            None => invalid(format!("not {}", thing(&returned))),
        }
    }

    fn item(&self, array: &Array<'js>, at: usize) -> Result<Value<'js>, Fault> {
        array.get(at).map_err(|error| self.thrown(error))
    }

    /// An event as `JSON.stringify` prints it.
    fn print(&self, handler: &str, returned: Value<'js>) -> Result<Box<RawValue>, Fault> {
        let invalid = |what: &str| wrong(format!("InvalidEventPayload: {handler} returned {what}"));
        if !returned.is_object() || returned.is_array() || returned.is_function() {
            return Err(invalid(&format!("{}, not an event", thing(&returned))));
        }
        let printed = self.ctx.json_stringify(returned).map_err(|error| self.thrown(error))?;
        let Some(printed) = printed else { return Err(invalid("what has no JSON")) };
        let text = printed.to_string().map_err(|error| self.thrown(error))?;
        if !text.starts_with('{') {
            return Err(invalid("what prints as no JSON object"));
        }
        if text.len() > MAX_EVENT {
            return Err(invalid("an event of more than 1 MiB"));
        }
        RawValue::from_string(text).map_err(|error| invalid(&format!("what is not JSON: {error}")))
    }
}

fn prelude<'js>(ctx: &Ctx<'js>, console: &Rc<Console>) -> Result<Function<'js>, Error> {
    let console = Rc::clone(console);
    let write = Function::new(ctx.clone(), move |line: String| console.write(&line))?;
    let prelude: Function<'js> = ctx.eval(PRELUDE)?;
    prelude.call((write, MAX_CONSOLE))
}

/// An expression that gives the handlers: a `const` is no property of the global object.
fn find_handlers() -> String {
    let names = HANDLERS.iter().map(|(_, name)| *name).chain([ON_BATCH]);
    let fields: Vec<_> = names
        .map(|name| format!("{name}: typeof {name} === 'function' ? {name} : undefined"))
        .collect();
    format!("({{{}}})", fields.join(", "))
}

/// Runs every queued job. What a job that nobody waits for throws is nobody's.
fn drain(ctx: &Ctx<'_>) {
    while ctx.execute_pending_job() {}
}

fn wrong(words: impl Into<String>) -> Fault {
    Fault { kind: FaultKind::Wrong, words: words.into() }
}

/// A value's type in words.
fn thing(value: &Value<'_>) -> &'static str {
    if value.is_function() {
        "a function"
    } else if value.is_array() {
        "an array"
    } else if value.is_undefined() {
        "undefined"
    } else if value.is_null() {
        "null"
    } else {
        value.type_name()
    }
}

/// An engine's error as a fault: what was thrown, by its kind and in words.
fn thrown<'js>(ctx: &Ctx<'js>, describe: &Function<'js>, error: Error) -> Fault {
    if !matches!(error, Error::Exception) {
        return wrong(error.to_string());
    }
    let value = ctx.catch();
    let Ok((kind, words, stack)) = describe
        .call::<_, Array<'js>>((value,))
        .and_then(|it| Ok((it.get::<String>(0)?, it.get::<String>(1)?, it.get::<String>(2)?)))
    else {
        ctx.catch();
        return wrong("out of memory");
    };
    let kind = match kind.as_str() {
        "DropEvent" | "EventNotSupported" => FaultKind::Dropped,
        "RetryError" => FaultKind::Retry,
        _ => FaultKind::Wrong,
    };
    let words = place(&stack).map_or_else(|| words.clone(), |at| format!("{words} ({at})"));
    Fault { kind, words }
}

/// The first place in the function's own source that a stack names: `line 3, column 7`.
fn place(stack: &str) -> Option<String> {
    let (_, after) = stack.split_once(&format!("{FILE}:"))?;
    let mut numbers = after.split(|c: char| !c.is_ascii_digit());
    let (line, column) = (numbers.next()?, numbers.next()?);
    Some(format!("line {line}, column {column}"))
}
