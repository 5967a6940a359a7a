// Runs first in every isolate: defines the errors that functions may throw and the console. Returns the
// function that describes a thrown value. Captures the globals that it needs, so that a function cannot
// replace them.
((write, limit) => {
  const { stringify } = JSON;
  const { defineProperty } = Object;
  const NativeError = Error;
  const text = String;
  const bind = Function.prototype.call.bind(Function.prototype.bind, Function.prototype.call);
  const [wellFormed, slice] = [bind(text.prototype.toWellFormed), bind(text.prototype.slice)];
  const bounded = (value, length) => wellFormed(slice(value, 0, length));

  const kinds = { __proto__: null };
  for (const name of [
    "InvalidEventPayload", "ValidationError", "EventNotSupported", "DropEvent", "RetryError",
  ]) {
    const kind = class extends NativeError {};
    defineProperty(kind, "name", { value: name });
    defineProperty(kind.prototype, "name", { value: name, writable: true, configurable: true });
    defineProperty(globalThis, name, { value: kind, writable: true, configurable: true });
    kinds[name] = kind;
  }

  const shown = (value) => {
    try {
      if (typeof value === "string") return value;
      if (value instanceof NativeError) return `${value.name}: ${value.message}`;
      if (typeof value === "object" && value !== null) return stringify(value) ?? "undefined";
      return text(value);
    } catch {
      return "(a value that cannot be shown)";
    }
  };
  const log = (level) => (...values) => {
    let line = `${level}: `;
    for (let at = 0; at < values.length && line.length <= limit; at++) {
      line += (at ? " " : "") + shown(values[at]);
    }
    write(bounded(line, limit));
  };
  const levels = ["log", "debug", "info", "warn", "error"];
  const console = {};
  for (const level of levels) console[level] = log(level);
  defineProperty(globalThis, "console", { value: console, writable: true, configurable: true });

  return (thrown) => {
    let [kind, message, stack] = ["", "it threw a value that cannot be shown", ""];
    try {
      for (const name in kinds) if (thrown instanceof kinds[name]) kind = name;
      if (thrown instanceof NativeError) {
        message = shown(thrown);
        stack = text(thrown.stack);
      } else if (thrown === null) {
        // The engine throws null when it has no memory left for an error object.
        message = "it threw null, or ran out of memory";
      } else {
        message = `it threw ${shown(thrown)}, which is not an Error`;
      }
    } catch {}
    return [kind, bounded(message, 1000), bounded(stack, 4000)];
  };
})
