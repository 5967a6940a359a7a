// A form with `data-preview` is sent there while it is being typed in, a moment after the last key: of
// the page that comes back, what `data-preview-into` names is taken over, and what is wrong with each
// field. Nothing that was typed is touched.

const PAUSE_MS = 350;

function showFaults(form, fresh) {
  for (const field of form.elements) {
    const twin = field.id ? fresh.getElementById(field.id) : null;
    const [around, other] = [field.closest(".field"), twin?.closest(".field")];
    if (!around || !other) continue;
    for (const name of ["aria-invalid", "aria-describedby"]) {
      if (twin.hasAttribute(name)) field.setAttribute(name, twin.getAttribute(name));
      else field.removeAttribute(name);
    }
    for (const old of around.querySelectorAll(".fault, .marked")) old.remove();
    around.append(...other.querySelectorAll(".fault, .marked"));
  }
}

function follow(form) {
  let timer;
  let asked = new AbortController();
  async function refresh() {
    asked.abort();
    asked = new AbortController();
    const into = document.getElementById(form.dataset.previewInto);
    into.setAttribute("aria-busy", "true");
    const body = new URLSearchParams(new FormData(form));
    const { signal } = asked;
    let html = "";
    try {
      html = await (await fetch(form.dataset.preview, { method: "POST", body, signal })).text();
    } catch { /* Not reached, or overtaken by what was typed since. */ }
    if (signal.aborted) return;
    const fresh = new DOMParser().parseFromString(html, "text/html");
    const part = fresh.getElementById(form.dataset.previewInto);
    // Anything else than the page asked for is no preview: signed out, or too large.
    if (!part) { into.removeAttribute("aria-busy"); return; }
    showFaults(form, fresh);
    into.replaceWith(part);
  }
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, PAUSE_MS);
  });
}
for (const form of document.querySelectorAll("form[data-preview]")) follow(form);
