// Light or dark, before anything is drawn: the system's choice unless the reader has made another,
// which is kept in this browser.
(() => {
  const root = document.documentElement;
  const kept = () => {
    try { return localStorage.getItem("theme"); } catch { return null; }
  };
  const apply = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  apply(kept());
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-toggle-theme]")) return;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    const theme = dark ? "light" : "dark";
    apply(theme);
    try { localStorage.setItem("theme", theme); } catch { /* Not kept: it holds for this page. */ }
  });
})();
