// What changes while it is looked at. An element with `data-refresh` is fetched again from there, as
// long as the server goes on saying so: the last answer has no such attribute. `data-seconds` is how
// long to wait. Times written as relative are counted on from when the page was made.

const madeAt = Number(document.querySelector('meta[name="made-at"]')?.content);
const openedAt = performance.now();

async function refresh(element) {
  let next = element;
  try {
    const answer = await fetch(element.dataset.refresh, { headers: { accept: "text/html" } });
    // Signed out meanwhile: what a reader sees then is the page to sign in on.
    if (answer.redirected) { location.reload(); return; }
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById(element.id);
      if (fresh) { carry(element, fresh); next = fresh; }
    }
  } catch { /* Not reached this time; the next will tell. */ }
  follow(next);
}

// What a reader had opened stays open, and the focus stays on what had it, if that is still there.
function carry(from, to) {
  const parts = (root) => [...root.querySelectorAll("a, button, input, summary")];
  const name = (it) => it && it.tagName + (it.getAttribute("href") ?? it.textContent);
  const focused = parts(from).find((it) => it === document.activeElement);
  const opened = [...from.querySelectorAll("details")].map((it) => it.open);
  from.replaceWith(to);
  to.querySelectorAll("details").forEach((it, at) => { it.open = opened[at] ?? it.open; });
  if (focused) parts(to).find((it) => name(it) === name(focused))?.focus({ preventScroll: true });
}

function follow(element) {
  if (!element.dataset.refresh) return;
  const seconds = Math.max(Number(element.dataset.seconds) || 5, 1);
  setTimeout(() => (document.hidden ? follow(element) : refresh(element)), seconds * 1000);
}
for (const element of document.querySelectorAll("[data-refresh]")) follow(element);

const UNITS = [["day", 86400], ["h", 3600], ["min", 60], ["s", 1]];
function words(seconds) {
  const size = Math.abs(seconds);
  if (size < 1) return "now";
  const [unit, length] = UNITS.find(([, length]) => size >= length);
  const number = Math.floor(size / length);
  const text = `${number} ${unit}${unit === "day" && number > 1 ? "s" : ""}`;
  return seconds < 0 ? `${text} ago` : `in ${text}`;
}
function tick() {
  const now = madeAt + (performance.now() - openedAt);
  for (const time of document.querySelectorAll("time[data-relative]")) {
    time.textContent = words((Date.parse(time.dateTime) - now) / 1000);
  }
}
if (Number.isFinite(madeAt)) setInterval(tick, 5000);
