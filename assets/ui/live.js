// Polling and relative times. An element with `data-refresh` is fetched again from that path every
// `data-seconds`, until the response has no such attribute. Relative times advance from the time of
// rendering.

const renderedAt = Number(document.querySelector('meta[name="rendered-at"]')?.content);
const openedAt = performance.now();

async function refresh(element) {
  let next = element;
  try {
    const response = await fetch(element.dataset.refresh, { headers: { accept: "text/html" } });
    // The session has ended: show the sign-in page.
    if (response.redirected) { location.reload(); return; }
    if (response.ok) {
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.getElementById(element.id);
      if (fresh) { keepState(element, fresh); next = fresh; }
    }
  } catch { /* Unreachable: the next poll tries again. */ }
  schedule(next);
}

// Keeps open details open, and the focus where it was.
function keepState(from, to) {
  const parts = (root) => [...root.querySelectorAll("a, button, input, summary")];
  const name = (it) => it && it.tagName + (it.getAttribute("href") ?? it.textContent);
  const focused = parts(from).find((it) => it === document.activeElement);
  const opened = [...from.querySelectorAll("details")].map((it) => it.open);
  from.replaceWith(to);
  to.querySelectorAll("details").forEach((it, at) => { it.open = opened[at] ?? it.open; });
  if (focused) parts(to).find((it) => name(it) === name(focused))?.focus({ preventScroll: true });
}

function schedule(element) {
  if (!element.dataset.refresh) return;
  const seconds = Math.max(Number(element.dataset.seconds) || 5, 1);
  setTimeout(() => (document.hidden ? schedule(element) : refresh(element)), seconds * 1000);
}
for (const element of document.querySelectorAll("[data-refresh]")) schedule(element);

const UNITS = [["day", 86400], ["h", 3600], ["min", 60], ["s", 1]];
function relative(seconds) {
  const size = Math.abs(seconds);
  if (size < 1) return "now";
  const [unit, length] = UNITS.find(([, length]) => size >= length);
  const number = Math.floor(size / length);
  const text = `${number} ${unit}${unit === "day" && number > 1 ? "s" : ""}`;
  return seconds < 0 ? `${text} ago` : `in ${text}`;
}
function tick() {
  const now = renderedAt + (performance.now() - openedAt);
  for (const time of document.querySelectorAll("time[data-relative]")) {
    time.textContent = relative((Date.parse(time.dateTime) - now) / 1000);
  }
}
if (Number.isFinite(renderedAt)) setInterval(tick, 5000);
