// The script of every page: keyboard shortcuts, dialogs in browsers without command buttons, copy
// buttons, checkboxes. It works on attributes of the markup only.

import "./live.js";
import "./preview.js";

// On a narrow screen the menu starts closed.
if (matchMedia("(max-width: 52rem)").matches) document.querySelector(".side > details")?.removeAttribute("open");

const typing = (target) => target.closest?.("input, textarea, select, [contenteditable]");

// Keys: `?` help, `/` search, `g` and a letter for a page, `j` and `k` for rows.
let isGoPending = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  if (isGoPending) {
    isGoPending = false;
    const link = document.querySelector(`.menu a[data-key="${CSS.escape(event.key)}"]`);
    if (link) { event.preventDefault(); link.click(); }
    return;
  }
  if (event.key === "g") isGoPending = true;
  else if (event.key === "?") document.getElementById("keys")?.showModal();
  else if (event.key === "/") {
    const field = document.querySelector('[role="search"] input[type="search"]');
    if (field) { event.preventDefault(); field.focus(); field.select?.(); }
  } else if (event.key === "j" || event.key === "k") moveFocus(event.key === "j" ? 1 : -1);
});

function moveFocus(step) {
  const links = [...document.querySelectorAll("[data-row]")].filter((row) => row.checkVisibility());
  if (links.length === 0) return;
  const at = links.indexOf(document.activeElement);
  links[Math.min(Math.max(at + step, 0), links.length - 1)].focus();
}

// A polyfill for buttons with `commandfor`.
if (!("command" in HTMLButtonElement.prototype)) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[commandfor]");
    const dialog = button && document.getElementById(button.getAttribute("commandfor"));
    if (!dialog) return;
    if (button.getAttribute("command") === "close") dialog.close();
    else dialog.showModal();
  });
}

// `data-copy` is the id of the element whose text is copied.
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy)?.textContent ?? "";
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select and copy";
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
  }
  button.addEventListener("blur", () => { button.textContent = label; }, { once: true });
});

// A `data-all` checkbox checks all checkboxes of its form.
document.addEventListener("change", (event) => {
  const all = event.target.closest?.("[data-all]");
  if (!all) return;
  for (const box of all.form.querySelectorAll('input[type="checkbox"]:not([data-all])')) box.checked = all.checked;
});

// Empty filters are omitted from the query string.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method !== "get") return;
  for (const field of event.target.elements) if (field.name && field.value === "") field.disabled = true;
});
addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll('form[method="get"] :disabled')) field.disabled = false;
});
