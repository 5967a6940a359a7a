// A live list. `data-stream` is the path of a stream of server-sent events, one HTML row per message;
// `data-catch-up` is the path of the page with the newest rows, fetched after every connect. Rows are
// sorted and de-duplicated by `data-order`. The search filters the rows in the page.

// Rows in the page at most; the oldest are dropped.
const MAX_ROWS = 200;
const RECONNECT_MS = 3000;

const rowsOf = (html) => [...new DOMParser().parseFromString(html, "text/html").querySelectorAll("[data-order]")];

function watch(root) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const [list, state, count, empty, pause, clear, all] =
    ["list", "state", "count", "empty", "pause", "clear", "all"].map(part);
  const form = root.querySelector("form");
  const texts = new WeakMap();
  // While paused: the new rows by their order.
  let paused = null;
  let pausedCount = 0;
  // Events that this subscriber missed, as far as the server knows their number.
  let dropped = 0;
  let droppedMore = false;
  // Rows up to this order were cleared.
  let cleared = "";

  const text = (row) => {
    if (!texts.has(row)) {
      const parts = row.querySelectorAll("summary, [data-search-text]");
      texts.set(row, [...parts].map((it) => it.textContent).join("\n").toLowerCase());
    }
    return texts.get(row);
  };
  const matches = (row) => {
    const type = form?.elements.namedItem("type")?.value ?? "";
    const search = (form?.elements.namedItem("text")?.value ?? "").trim().toLowerCase();
    return (!type || row.dataset.type === type) && (!search || text(row).includes(search));
  };
  function updateCount() {
    let shown = 0;
    for (const row of list.children) {
      row.hidden = !matches(row);
      if (!row.hidden) shown += 1;
    }
    const here = list.children.length;
    const some = dropped ? `, ${dropped}${droppedMore ? " or more" : ""} missed` : "";
    const lost = some || (droppedMore ? ", some may be missed" : "");
    count.textContent = `${shown === here ? here : `${shown} of ${here}`} shown${lost}`;
    empty.hidden = shown > 0;
  }
  const known = (order) => [...list.children].some((row) => row.dataset.order === order);

  function insert(row) {
    const order = row.dataset.order;
    const older = [...list.children].find((other) => other.dataset.order < order);
    if (older) older.before(row);
    else list.append(row);
    while (list.children.length > MAX_ROWS) list.lastElementChild.remove();
  }
  function add(rows) {
    for (const row of rows) {
      const order = row.dataset.order;
      if (order <= cleared || known(order) || paused?.has(order)) continue;
      if (paused) {
        pausedCount += 1;
        paused.set(order, row);
        if (paused.size > MAX_ROWS) paused.delete([...paused.keys()].sort()[0]);
      } else insert(document.adoptNode(row));
    }
    if (paused) pause.textContent = `Resume (${pausedCount} new)`;
    else updateCount();
  }
  function showState(tone, label) {
    state.className = `badge ${tone}`;
    state.textContent = label;
    state.hidden = false;
  }
  const showConnected = () => (paused ? showState("idle", "paused") : showState("live", "streaming"));

  // Fetches the rows from before the stream was connected.
  async function catchUp() {
    const response = await fetch(root.dataset.catchUp, { headers: { accept: "text/html" } });
    // The session has ended: show the sign-in page.
    if (response.redirected) { location.reload(); return false; }
    if (response.ok) add(rowsOf(await response.text()));
    return response.ok;
  }
  function open() {
    const source = new EventSource(root.dataset.stream);
    source.onopen = () => { showConnected(); catchUp().catch(() => {}); };
    source.onmessage = (event) => add(rowsOf(event.data));
    source.addEventListener("missed", (event) => {
      const { missed } = JSON.parse(event.data);
      if (Number.isInteger(missed)) dropped += missed;
      else droppedMore = true;
      updateCount();
    });
    source.addEventListener("ended", () => { source.close(); location.reload(); });
    source.onerror = () => {
      showState("bad", "disconnected, reconnecting");
      // The browser reconnects unless the server refused the stream.
      if (source.readyState === EventSource.CLOSED) setTimeout(reconnect, RECONNECT_MS);
    };
  }
  // Why the server refuses the stream, which an EventSource does not tell.
  async function isRefused() {
    const response = await fetch(root.dataset.stream);
    await response.body?.cancel();
    return response.status === 429;
  }
  async function reconnect() {
    const reached = await catchUp().catch(() => false);
    const refused = reached && await isRefused().catch(() => false);
    if (refused) showState("bad", "too many live pages are open: close one");
    if (reached && !refused) open();
    else setTimeout(reconnect, RECONNECT_MS);
  }

  pause.addEventListener("click", () => {
    const buffered = paused;
    paused = buffered ? null : new Map();
    pausedCount = 0;
    pause.textContent = "Pause";
    pause.setAttribute("aria-pressed", String(paused !== null));
    if (paused) pause.textContent = "Resume";
    else add([...buffered.values()]);
    showConnected();
  });
  clear.addEventListener("click", () => {
    for (const row of list.children) if (row.dataset.order > cleared) cleared = row.dataset.order;
    list.replaceChildren();
    updateCount();
  });
  form?.addEventListener("input", () => {
    const filters = [...new FormData(form)].filter(([, value]) => value);
    if (all) all.hidden = filters.length === 0;
    history.replaceState(null, "", filters.length ? `?${new URLSearchParams(filters)}` : location.pathname);
    updateCount();
  });
  // A source has a stream of its own; the other filters apply to the rows in the page.
  form?.elements.namedItem("source")?.addEventListener("change", () => form.requestSubmit());
  form?.addEventListener("submit", (event) => {
    const source = new URL(root.dataset.catchUp, location).searchParams.get("source") ?? "";
    const selected = form.elements.namedItem("source")?.value ?? "";
    if (source === selected) { event.preventDefault(); updateCount(); }
  });
  pause.hidden = clear.hidden = false;
  showState("idle", "connecting");
  updateCount();
  open();
}

for (const root of document.querySelectorAll("[data-stream]")) watch(root);
