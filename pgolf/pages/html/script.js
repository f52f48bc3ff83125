"use strict";
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = {
    get: () => { try { return localStorage.getItem("pgolf-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("pgolf-theme", value); } catch { /* a page from a file may have no storage */ } },
  };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const show = () => {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
  };
  if (["dark", "light"].includes(kept.get())) root.dataset.theme = kept.get();
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    kept.set(root.dataset.theme);
    show();
  });
  system.addEventListener("change", show);
  show();

  // The contents are open where they stand beside the page.
  const contents = document.getElementById("contents");
  const wide = matchMedia("(min-width: 72rem)");
  const place = () => { contents.open = wide.matches; };
  wide.addEventListener("change", place);
  contents.addEventListener("click", (event) => { if (event.target.closest("a") && !wide.matches) contents.open = false; });
  place();
  // Paper shows the tables that are folded on a screen, but not every run.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.table:not([open])")];
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; });

  const value = (row, column) => row.cells[column];
  const compare = (a, b, column, numeric, sign) => {
    const [x, y] = [value(a, column), value(b, column)];
    if (!numeric) return sign * x.textContent.localeCompare(y.textContent, undefined, { numeric: true });
    const [p, q] = [x.dataset.value, y.dataset.value];
    if (p === undefined || q === undefined) return (p === undefined) - (q === undefined); // cells without a number stay last
    return sign * (Number(p) - Number(q));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const original = [...body.rows];
    heads.forEach((head, column) => {
      const control = document.createElement("button");
      control.type = "button";
      control.append(...head.childNodes);
      head.append(control);
      control.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")] ?? "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        if (next !== "none") head.setAttribute("aria-sort", next);
        const sign = next === "descending" ? -1 : 1;
        const numeric = head.classList.contains("number");
        const rows = next === "none" ? original : [...original].sort((a, b) => compare(a, b, column, numeric, sign));
        body.append(...rows);
      });
    });
  }
})();
