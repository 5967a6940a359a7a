// A list that goes on while it is looked at. `data-stream` is where what comes is told, one row of HTML
// a message, made by the server; `data-again` is the page that has the newest rows. Rows have their
// place in `data-order`, so that a row is never there twice, however it came. What is searched is what is here.

// Rows that are kept; the oldest go first.
const MOST = 200;
// How long to wait before what was refused is asked for again, in milliseconds.
const PATIENCE = 3000;

const rowsOf = (html) => [...new DOMParser().parseFromString(html, "text/html").querySelectorAll("[data-order]")];

function watch(root) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const [list, state, count, empty, pause, clear, all] =
    ["list", "state", "count", "empty", "pause", "clear", "all"].map(part);
  const form = root.querySelector("form");
  const texts = new WeakMap();
  // What came while it is paused, by its place; none while it goes on.
  let held = null;
  let came = 0;
  // What came too fast to be told at all.
  let missed = 0;
  // Rows up to here were cleared away.
  let cleared = "";

  const text = (row) => {
    if (!texts.has(row)) {
      const parts = row.querySelectorAll("summary, [data-search-text]");
      texts.set(row, [...parts].map((it) => it.textContent).join("\n").toLowerCase());
    }
    return texts.get(row);
  };
  const fits = (row) => {
    const type = form?.elements.namedItem("type")?.value ?? "";
    const wanted = (form?.elements.namedItem("text")?.value ?? "").trim().toLowerCase();
    return (!type || row.dataset.type === type) && (!wanted || text(row).includes(wanted));
  };
  function tally() {
    let shown = 0;
    for (const row of list.children) {
      row.hidden = !fits(row);
      if (!row.hidden) shown += 1;
    }
    const here = list.children.length;
    const lost = missed ? `, ${missed} came too fast` : "";
    count.textContent = `${shown === here ? here : `${shown} of ${here}`} shown${lost}`;
    empty.hidden = shown > 0;
  }
  const known = (order) => [...list.children].some((row) => row.dataset.order === order);

  function place(row) {
    const order = row.dataset.order;
    const older = [...list.children].find((other) => other.dataset.order < order);
    if (older) older.before(row);
    else list.append(row);
    while (list.children.length > MOST) list.lastElementChild.remove();
  }
  function take(rows) {
    for (const row of rows) {
      const order = row.dataset.order;
      if (order <= cleared || known(order) || held?.has(order)) continue;
      if (held) {
        came += 1;
        held.set(order, row);
        if (held.size > MOST) held.delete([...held.keys()].sort()[0]);
      } else place(document.adoptNode(row));
    }
    if (held) pause.textContent = `Resume (${came} came meanwhile)`;
    else tally();
  }
  function tell(tone, words) {
    state.className = `badge ${tone}`;
    state.textContent = words;
    state.hidden = false;
  }
  const watching = () => (held ? tell("idle", "paused") : tell("live", "watching"));

  // What came while nobody listened: before the stream was open, or while it was cut off.
  async function catchUp() {
    const answer = await fetch(root.dataset.again, { headers: { accept: "text/html" } });
    // Signed out meanwhile: what a reader sees then is the page to sign in on.
    if (answer.redirected) { location.reload(); return false; }
    if (answer.ok) take(rowsOf(await answer.text()));
    return answer.ok;
  }
  function open() {
    const source = new EventSource(root.dataset.stream);
    source.onopen = () => { watching(); catchUp().catch(() => {}); };
    source.onmessage = (event) => take(rowsOf(event.data));
    source.addEventListener("missed", (event) => {
      missed += JSON.parse(event.data).missed;
      tally();
    });
    source.addEventListener("ended", () => { source.close(); location.reload(); });
    source.onerror = () => {
      tell("bad", "connection lost, trying again");
      // The browser tries again by itself unless it was refused.
      if (source.readyState === EventSource.CLOSED) setTimeout(again, PATIENCE);
    };
  }
  async function again() {
    const heard = await catchUp().catch(() => false);
    if (heard) open();
    else setTimeout(again, PATIENCE);
  }

  pause.addEventListener("click", () => {
    const waiting = held;
    held = waiting ? null : new Map();
    came = 0;
    pause.textContent = "Pause";
    pause.setAttribute("aria-pressed", String(held !== null));
    if (held) pause.textContent = "Resume";
    else take([...waiting.values()]);
    watching();
  });
  clear.addEventListener("click", () => {
    for (const row of list.children) if (row.dataset.order > cleared) cleared = row.dataset.order;
    list.replaceChildren();
    tally();
  });
  form?.addEventListener("input", () => {
    const asked = [...new FormData(form)].filter(([, value]) => value);
    if (all) all.hidden = asked.length === 0;
    history.replaceState(null, "", asked.length ? `?${new URLSearchParams(asked)}` : location.pathname);
    tally();
  });
  // Another source is another stream; what else is asked for is looked for in what is here.
  form?.elements.namedItem("source")?.addEventListener("change", () => form.requestSubmit());
  form?.addEventListener("submit", (event) => {
    const source = new URL(root.dataset.again, location).searchParams.get("source") ?? "";
    const asked = form.elements.namedItem("source")?.value ?? "";
    if (source === asked) { event.preventDefault(); tally(); }
  });
  pause.hidden = clear.hidden = false;
  tell("idle", "connecting");
  tally();
  open();
}

for (const root of document.querySelectorAll("[data-stream]")) watch(root);
