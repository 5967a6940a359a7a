// A form with `data-preview` is posted to that path after each pause in typing. The element with the id
// `data-preview-into` and the faults of the fields are replaced from the response; the input is kept.

const DEBOUNCE_MS = 350;

function showFaults(form, fresh) {
  for (const field of form.elements) {
    const twin = field.id ? fresh.getElementById(field.id) : null;
    const [around, other] = [field.closest(".field"), twin?.closest(".field")];
    if (!around || !other) continue;
    for (const name of ["aria-invalid", "aria-describedby"]) {
      if (twin.hasAttribute(name)) field.setAttribute(name, twin.getAttribute(name));
      else field.removeAttribute(name);
    }
    for (const old of around.querySelectorAll(".fault, .syntax-error")) old.remove();
    around.append(...other.querySelectorAll(".fault, .syntax-error"));
  }
}

function watch(form) {
  let timer;
  let request = new AbortController();
  async function refresh() {
    request.abort();
    request = new AbortController();
    const into = document.getElementById(form.dataset.previewInto);
    into.setAttribute("aria-busy", "true");
    const body = new URLSearchParams(new FormData(form));
    const { signal } = request;
    let html = "";
    try {
      html = await (await fetch(form.dataset.preview, { method: "POST", body, signal })).text();
    } catch { /* Unreachable, or superseded by a newer request. */ }
    if (signal.aborted) return;
    const fresh = new DOMParser().parseFromString(html, "text/html");
    const part = fresh.getElementById(form.dataset.previewInto);
    // Not a preview: the session has ended, or the form is too large.
    if (!part) { into.removeAttribute("aria-busy"); return; }
    showFaults(form, fresh);
    into.replaceWith(part);
  }
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, DEBOUNCE_MS);
  });
}
for (const form of document.querySelectorAll("form[data-preview]")) watch(form);
