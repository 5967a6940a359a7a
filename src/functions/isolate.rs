//! An isolate: one function loaded in a JavaScript engine of its own, with its globals, memory limit and
//! console. Used in workers only. There is no network, file system, timer or module.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use rquickjs::context::EvalOptions;
use rquickjs::{
    Array, Context, Ctx, Error, Function, IntoJs, Object, Persistent, Promise, Runtime, Value,
};
use serde_json::value::RawValue;

use super::protocol::{ErrorKind, FunctionError, Load, MAX_CONSOLE, MAX_EVENT, Reply};

/// The handlers that a function may define, by event type.
pub(super) const HANDLERS: [(&str, &str); 7] = [
    ("track", "onTrack"),
    ("identify", "onIdentify"),
    ("page", "onPage"),
    ("screen", "onScreen"),
    ("group", "onGroup"),
    ("alias", "onAlias"),
    ("delete", "onDelete"),
];
/// The handler for a batch.
pub(super) const ON_BATCH: &str = "onBatch";

const PRELUDE: &str = include_str!("prelude.js");
/// The file name in stack traces.
const FILE_NAME: &str = "function.js";
/// The engine's words when an allocation fails, with and without memory for an error object.
const OUT_OF_MEMORY_ERROR: &str = "InternalError: out of memory";
const OUT_OF_MEMORY: &str = "out of memory";
/// The prelude's words for a thrown `null`.
const NULL_OR_OUT_OF_MEMORY: &str = "it threw null, or ran out of memory";
/// The engine's stack limit: lower than the thread's stack size.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Receives an isolate's replies.
pub(super) type ReplySink = Rc<dyn Fn(&Reply)>;

/// A loaded function. Field order is drop order: the engine's values before the engine.
pub(super) struct Isolate {
    tools: Persistent<Object<'static>>,
    handlers: Persistent<Object<'static>>,
    context: Context,
    runtime: Runtime,
    console: Rc<Console>,
    source: String,
    settings: Box<RawValue>,
    /// The limit of what the function may use.
    memory_bytes: usize,
    /// What the engine used before the function was loaded.
    base_bytes: usize,
}

/// Console output, bounded.
struct Console {
    send: ReplySink,
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
        (self.send)(&Reply::Console(kept.to_owned()));
        if !whole {
            let cut = format!("(truncated: more than {} KiB)", MAX_CONSOLE >> 10);
            (self.send)(&Reply::Console(cut));
        }
    }
}

impl Isolate {
    /// Loads a function by running its source once, which defines the handlers.
    pub(super) fn load(
        load: &Load<'_>,
        memory_bytes: usize,
        send: ReplySink,
    ) -> Result<Self, FunctionError> {
        let engine = |error: Error| failed(format!("the engine does not start: {error}"));
        let runtime = Runtime::new().map_err(engine)?;
        runtime.set_max_stack_size(STACK_BYTES);
        let context = Context::full(&runtime).map_err(engine)?;
        let console = Rc::new(Console { send, left: Cell::new(MAX_CONSOLE) });
        let tools = context.with(|ctx| {
            prelude(&ctx, &console).map(|tools| Persistent::save(&ctx, tools)).map_err(engine)
        })?;
        let base_bytes = used_bytes(&runtime);
        runtime.set_memory_limit(base_bytes.saturating_add(memory_bytes));
        let handlers = context.with(|ctx| {
            let tools = tools.clone().restore(&ctx).map_err(engine)?;
            let describe: Function<'_> = tools.get("describe").map_err(engine)?;
            let mut options = EvalOptions::default();
            options.strict = false;
            options.filename = Some(FILE_NAME.to_owned());
            ctx.eval_with_options::<Value<'_>, _>(load.source.as_ref(), options)
                .map_err(|error| within(memory_bytes, thrown(&ctx, &describe, error)))?;
            drain(&ctx);
            let handlers: Object<'_> = ctx.eval(find_handlers()).map_err(engine)?;
            Ok(Persistent::save(&ctx, handlers))
        })?;
        let (source, settings) = (load.source.to_string(), load.settings.to_owned());
        Ok(Self {
            tools,
            handlers,
            context,
            runtime,
            console,
            source,
            settings,
            memory_bytes,
            base_bytes,
        })
    }

    /// The same function in a new engine, without what its calls left behind.
    pub(super) fn reloaded(&self) -> Result<Self, FunctionError> {
        let load = Load { source: Cow::Borrowed(&self.source), settings: &self.settings };
        Self::load(&load, self.memory_bytes, Rc::clone(&self.console.send))
    }

    /// The memory that the function holds, in bytes, without the engine's own.
    pub(super) fn held_bytes(&self) -> usize {
        used_bytes(&self.runtime).saturating_sub(self.base_bytes)
    }

    /// The names of the defined handlers.
    pub(super) fn handlers(&self) -> Vec<String> {
        self.context.with(|ctx| {
            let Ok(handlers) = self.handlers.clone().restore(&ctx) else { return Vec::new() };
            let names = HANDLERS.iter().map(|(_, name)| *name).chain([ON_BATCH]);
            let defined = |name: &&str| handlers.get::<_, Function<'_>>(*name).is_ok();
            names.filter(defined).map(ToOwned::to_owned).collect()
        })
    }

    /// Resets the console's limit, before each event or batch.
    pub(super) fn reset_console(&self) {
        self.console.left.set(MAX_CONSOLE);
    }

    /// Calls the handler of the event's type, or `onBatch` with one event if there is no such handler.
    pub(super) fn each(&self, event: &RawValue) -> Result<Box<RawValue>, FunctionError> {
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
            let message = format!("EventNotSupported: the function has no {wanted}");
            Err(FunctionError { kind: ErrorKind::Dropped, message })
        })
    }

    /// Whether `onBatch` is defined.
    pub(super) fn has_batch_handler(&self) -> bool {
        self.context.with(|ctx| {
            let handlers = self.handlers.clone().restore(&ctx);
            handlers.is_ok_and(|handlers| handlers.get::<_, Function<'_>>(ON_BATCH).is_ok())
        })
    }

    /// Calls `onBatch` with all events; results are by position.
    pub(super) fn batch(
        &self,
        events: &[&RawValue],
    ) -> Result<Vec<Result<Box<RawValue>, FunctionError>>, FunctionError> {
        self.enter(|call| {
            let handler = call.handler(ON_BATCH).ok_or_else(|| failed("there is no onBatch"))?;
            let texts: Vec<_> = events.iter().map(|event| event.get()).collect();
            let parsed: Array<'_> = call.parse(&format!("[{}]", texts.join(",")))?;
            let returned = call.array(call.call(&handler, parsed)?, events.len())?;
            let print = |at| call.print(ON_BATCH, call.item(&returned, at)?);
            Ok((0..events.len()).map(print).collect())
        })
    }

    fn enter<T>(
        &self,
        work: impl for<'js> FnOnce(&CallContext<'js, '_>) -> Result<T, FunctionError>,
    ) -> Result<T, FunctionError> {
        self.context
            .with(|ctx| {
                let lost = |error: Error| failed(format!("the engine lost the function: {error}"));
                let tools = self.tools.clone().restore(&ctx).map_err(lost)?;
                let describe = tools.get("describe").map_err(lost)?;
                let handlers = self.handlers.clone().restore(&ctx).map_err(lost)?;
                let (ctx, settings) = (ctx.clone(), self.settings.get());
                work(&CallContext { ctx, tools, describe, handlers, settings })
            })
            .map_err(|error| within(self.memory_bytes, error))
    }
}

/// A call in progress.
struct CallContext<'js, 'a> {
    ctx: Ctx<'js>,
    tools: Object<'js>,
    describe: Function<'js>,
    handlers: Object<'js>,
    settings: &'a str,
}

impl<'js> CallContext<'js, '_> {
    fn thrown(&self, error: Error) -> FunctionError {
        thrown(&self.ctx, &self.describe, error)
    }

    fn parse<T: rquickjs::FromJs<'js>>(&self, json: &str) -> Result<T, FunctionError> {
        let value = self.ctx.json_parse(json).map_err(|error| self.thrown(error))?;
        T::from_js(&self.ctx, value).map_err(|error| self.thrown(error))
    }

    fn handler(&self, name: &str) -> Option<Function<'js>> {
        self.handlers.get(name).ok()
    }

    /// Calls a handler and runs all jobs that it queued.
    fn call(
        &self,
        handler: &Function<'js>,
        given: impl IntoJs<'js>,
    ) -> Result<Value<'js>, FunctionError> {
        let settings: Value<'js> = self.parse(self.settings)?;
        let returned: Value<'js> =
            handler.call((given, settings)).map_err(|error| self.thrown(error))?;
        drain(&self.ctx);
        self.awaited(returned)
    }

    /// A value, awaited where it is a promise or has a `then`, as `await` does it.
    fn awaited(&self, value: Value<'js>) -> Result<Value<'js>, FunctionError> {
        if let Some(promise) = value.as_promise() {
            return self.settled(promise);
        }
        let Some(object) = value.as_object() else { return Ok(value) };
        let then: Value<'js> = object.get("then").map_err(|error| self.thrown(error))?;
        if !then.is_function() {
            return Ok(value);
        }
        let resolve: Function<'js> = self.tool("resolve")?;
        let promise: Promise<'js> = resolve.call((value,)).map_err(|error| self.thrown(error))?;
        drain(&self.ctx);
        self.settled(&promise)
    }

    fn tool(&self, name: &str) -> Result<Function<'js>, FunctionError> {
        self.tools.get(name).map_err(|error| self.thrown(error))
    }

    fn settled(&self, promise: &Promise<'js>) -> Result<Value<'js>, FunctionError> {
        match promise.result::<Value<'js>>() {
            Some(result) => result.map_err(|error| self.thrown(error)),
            None => Err(failed("its promise never settles: no job is left that could settle it")),
        }
    }

    fn array(&self, returned: Value<'js>, length: usize) -> Result<Array<'js>, FunctionError> {
        let invalid = |what: String| {
            Err(failed(format!(
                "InvalidEventPayload: {ON_BATCH} should return {length} events, {what}"
            )))
        };
        match returned.as_array() {
            Some(array) if array.len() == length => Ok(array.clone()),
            Some(array) => invalid(format!("by position; it returned {}", array.len())),
            None => invalid(format!("not {}", type_name(&returned))),
        }
    }

    fn item(&self, array: &Array<'js>, at: usize) -> Result<Value<'js>, FunctionError> {
        self.awaited(array.get(at).map_err(|error| self.thrown(error))?)
    }

    /// What an object is, where JSON does not print it as an event.
    fn oddity(&self, value: &Value<'js>) -> Result<String, FunctionError> {
        let oddity: Function<'js> = self.tool("oddity")?;
        oddity.call((value.clone(),)).map_err(|error| self.thrown(error))
    }

    /// What is in an event that JSON prints as `{}` although it is not empty.
    fn hidden(&self, value: &Value<'js>) -> Result<String, FunctionError> {
        let hidden: Function<'js> = self.tool("hidden")?;
        hidden.call((value.clone(),)).map_err(|error| self.thrown(error))
    }

    /// An event as `JSON.stringify` prints it.
    fn print(&self, handler: &str, returned: Value<'js>) -> Result<Box<RawValue>, FunctionError> {
        let invalid =
            |what: &str| failed(format!("InvalidEventPayload: {handler} returned {what}"));
        if !returned.is_object() || returned.is_array() || returned.is_function() {
            return Err(invalid(&format!("{}, not an event", type_name(&returned))));
        }
        match self.oddity(&returned)?.as_str() {
            "" => {}
            "an Error" => {
                let (kind, message) = describe_value(&self.describe, returned)
                    .unwrap_or((ErrorKind::Failed, OUT_OF_MEMORY.to_owned()));
                let message = format!("{handler} returned an Error, not an event: {message}");
                return Err(FunctionError { kind, message });
            }
            what => return Err(invalid(&format!("{what}, not an event"))),
        }
        let printed =
            self.ctx.json_stringify(returned.clone()).map_err(|error| self.thrown(error))?;
        let Some(printed) = printed else { return Err(invalid("a value that has no JSON")) };
        let text = printed.to_string().map_err(|error| self.thrown(error))?;
        if !text.starts_with('{') {
            return Err(invalid("a value that is not a JSON object"));
        }
        if text.contains("{}") {
            match self.hidden(&returned)?.as_str() {
                "" => {}
                "a Promise" => return Err(invalid("an event with a Promise in it: await it")),
                what => {
                    return Err(invalid(&format!(
                        "an event with {what} in it, which JSON has not"
                    )));
                }
            }
        }
        if text.len() > MAX_EVENT {
            return Err(invalid("an event of more than 1 MiB"));
        }
        RawValue::from_string(text)
            .map_err(|error| invalid(&format!("a value that is not JSON: {error}")))
    }
}

fn prelude<'js>(ctx: &Ctx<'js>, console: &Rc<Console>) -> Result<Object<'js>, Error> {
    let console = Rc::clone(console);
    let write = Function::new(ctx.clone(), move |line: String| console.write(&line))?;
    let prelude: Function<'js> = ctx.eval(PRELUDE)?;
    prelude.call((write, MAX_CONSOLE))
}

/// An expression that evaluates to the handlers: a `const` is not a property of the global object.
fn find_handlers() -> String {
    let names = HANDLERS.iter().map(|(_, name)| *name).chain([ON_BATCH]);
    let fields: Vec<_> = names
        .map(|name| format!("{name}: typeof {name} === 'function' ? {name} : undefined"))
        .collect();
    format!("({{{}}})", fields.join(", "))
}

/// Runs all queued jobs. Exceptions of jobs that nothing awaits are ignored.
fn drain(ctx: &Ctx<'_>) {
    while ctx.execute_pending_job() {}
}

/// What the engine has allocated, in bytes.
fn used_bytes(runtime: &Runtime) -> usize {
    usize::try_from(runtime.memory_usage().malloc_size).unwrap_or(usize::MAX)
}

/// Adds the limit to the engine's error that memory ran out.
fn within(memory_bytes: usize, mut error: FunctionError) -> FunctionError {
    let needs = format!("needs more than its limit of {} MiB", memory_bytes >> 20);
    if error.message == OUT_OF_MEMORY || error.message.starts_with(OUT_OF_MEMORY_ERROR) {
        error.message.push_str(&format!(": the function {needs}"));
    } else if error.message == NULL_OR_OUT_OF_MEMORY {
        error.message.push_str(&format!(": then the function {needs}"));
    }
    error
}

fn failed(message: impl Into<String>) -> FunctionError {
    FunctionError { kind: ErrorKind::Failed, message: message.into() }
}

/// A value's type, for error messages.
fn type_name(value: &Value<'_>) -> &'static str {
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

/// Converts a thrown value to an error with kind and message.
fn thrown<'js>(ctx: &Ctx<'js>, describe: &Function<'js>, error: Error) -> FunctionError {
    if !matches!(error, Error::Exception) {
        return failed(error.to_string());
    }
    let value = ctx.catch();
    let Some((kind, message)) = describe_value(describe, value) else {
        ctx.catch();
        return failed(OUT_OF_MEMORY);
    };
    FunctionError { kind, message }
}

/// The kind and the message of a thrown value; none when memory ran out.
fn describe_value<'js>(describe: &Function<'js>, value: Value<'js>) -> Option<(ErrorKind, String)> {
    let described: Array<'js> = describe.call((value,)).ok()?;
    let text = |at| described.get::<String>(at).ok();
    let (kind, message, stack) = (text(0)?, text(1)?, text(2)?);
    let kind = match kind.as_str() {
        "DropEvent" | "EventNotSupported" => ErrorKind::Dropped,
        "RetryError" => ErrorKind::Retry,
        _ => ErrorKind::Failed,
    };
    let message =
        position(&stack).map_or_else(|| message.clone(), |at| format!("{message} ({at})"));
    Some((kind, message))
}

/// The first position in the function's source that a stack trace names: `line 3, column 7`.
fn position(stack: &str) -> Option<String> {
    let (_, after) = stack.split_once(&format!("{FILE_NAME}:"))?;
    let mut numbers = after.split(|c: char| !c.is_ascii_digit());
    let (line, column) = (numbers.next()?, numbers.next()?);
    Some(format!("line {line}, column {column}"))
}
