// Runs first in every isolate: defines the errors that functions may throw and the console. Returns the
// functions that describe a thrown value, await a returned one, and find what JSON cannot express in it.
// Captures the globals that it needs, so that a function cannot replace them.
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

  // Without Intl these would give other results than elsewhere: an error is better than a wrong text.
  const withoutIntl = (prototype, names) => {
    for (const name of names) {
      const value = function () {
        throw new TypeError(`${name} needs Intl, which functions do not have: format the value yourself`);
      };
      defineProperty(prototype, name, { value, writable: true, configurable: true });
    }
  };
  const { TypeError } = globalThis;
  withoutIntl(Number.prototype, ["toLocaleString"]);
  withoutIntl(BigInt.prototype, ["toLocaleString"]);
  withoutIntl(Date.prototype, ["toLocaleString", "toLocaleDateString", "toLocaleTimeString"]);
  withoutIntl(text.prototype, ["localeCompare"]);
  for (const name of ["toLocaleUpperCase", "toLocaleLowerCase"]) {
    const plain = bind(text.prototype[name.replace("Locale", "")]);
    const value = function (locale) {
      if (locale === undefined) return plain(this);
      throw new TypeError(`${name} with a locale needs Intl, which functions do not have`);
    };
    defineProperty(text.prototype, name, { value, writable: true, configurable: true });
  }

  // Objects that JSON.stringify prints as {}, or not as the event that they stand for.
  const { getPrototypeOf, keys } = Object;
  const { isArray } = Array;
  const resolve = Promise.resolve.bind(Promise);
  const odd = [
    ["a Map", Map], ["a Set", Set], ["a WeakMap", WeakMap], ["a WeakSet", WeakSet],
    ["a WeakRef", WeakRef], ["an Error", NativeError], ["a Promise", Promise], ["a RegExp", RegExp],
    ["a Date", Date], ["an ArrayBuffer", ArrayBuffer], ["a DataView", DataView],
    ["a typed array", getPrototypeOf(Uint8Array)], ["a Boolean object", Boolean],
    ["a Symbol object", Symbol],
    ["an iterator", { prototype: getPrototypeOf(getPrototypeOf([][Symbol.iterator]())) }],
    ["an async iterator", {
      prototype: getPrototypeOf(getPrototypeOf((async function* () {}).prototype)),
    }],
    ["a Number object", Number], ["a String object", text],
  ].map(([name, type]) => [name, type.prototype]);
  const oddity = (value) => {
    if (typeof value !== "object" || value === null) return "";
    for (let at = getPrototypeOf(value); at !== null; at = getPrototypeOf(at)) {
      for (const [name, prototype] of odd) if (at === prototype) return name;
    }
    return "";
  };
  const isPrinted = { __proto__: null, "a Date": true, "a Boolean object": true,
    "a Number object": true, "a String object": true };
  const hidden = (value) => {
    if (typeof value !== "object" || value === null) return "";
    const name = oddity(value);
    if (name) return isPrinted[name] || typeof value.toJSON === "function" ? "" : name;
    if (isArray(value)) {
      for (let at = 0; at < value.length; at++) {
        const found = hidden(value[at]);
        if (found) return found;
      }
      return "";
    }
    const names = keys(value);
    for (let at = 0; at < names.length; at++) {
      const found = hidden(value[names[at]]);
      if (found) return found;
    }
    return "";
  };

  const describe = (thrown) => {
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
  return { describe, resolve, oddity, hidden };
})
