// What every realm begins with: the errors that functions may throw, and the console. Gives the
// function that puts a thrown value into words. Takes what it needs from the globals before a
// function can change them.
((write, kept) => {
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
  const say = (level) => (...values) => {
    let line = `${level}: `;
    for (let at = 0; at < values.length && line.length <= kept; at++) {
      line += (at ? " " : "") + shown(values[at]);
    }
    write(bounded(line, kept));
  };
  const levels = ["log", "debug", "info", "warn", "error"];
  const console = {};
  for (const level of levels) console[level] = say(level);
  defineProperty(globalThis, "console", { value: console, writable: true, configurable: true });

  return (thrown) => {
    let [kind, words, stack] = ["", "it threw a value that cannot be shown", ""];
    try {
      for (const name in kinds) if (thrown instanceof kinds[name]) kind = name;
      if (thrown instanceof NativeError) {
        words = shown(thrown);
        stack = text(thrown.stack);
      } else if (thrown === null) {
        // What is left for the engine to throw when there is no room for an error.
        words = "it threw null, or ran out of memory";
      } else {
        words = `it threw ${shown(thrown)}, which is not an Error`;
      }
    } catch {}
    return [kind, bounded(words, 1000), bounded(stack, 4000)];
  };
})
