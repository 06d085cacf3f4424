// SPDX-FileCopyrightText: The kbtf-ci authors
// SPDX-License-Identifier: GPL-2.0-or-later
// The table of modules: all of them are in memory, and a page of them is in the document, so that it stays quick at
// thousands. Text comes in as text alone (textContent), never as markup.
"use strict";
(() => {
  const PAGE = 100;
  const data = JSON.parse(document.getElementById("data").textContent);
  const modules = data.modules.map((row) => {
    const module = Object.fromEntries(data.columns.map((name, at) => [name, row[at]]));
    module.text = [module.name, module.file, module.reason, ...(module.log || [])].join("\n").toLowerCase();
    return module;
  });
  const byId = (id) => document.getElementById(id);
  const body = byId("table").tBodies[0];
  const state = { key: null, down: false, page: 0, shown: modules };

  const element = (name, text, kind) => {
    const made = document.createElement(name);
    if (text !== undefined && text !== null) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const number = (value) => (value === null ? "" : value.toLocaleString("en"));
  const milliseconds = (us) => (us === null ? "" : (us / 1000).toFixed(1));

  function details(module) {
    const cell = element("td");
    cell.colSpan = 6;
    const line = (name, value) => {
      if (value) cell.append(element("div", `${name}: ${value}`));
    };
    line("reason", module.reason);
    line("file", module.file);
    line("BTF", module.sha256 && `${number(module.bytes)} bytes, SHA-256 ${module.sha256}`);
    line("loaded", module.load && `${module.load}, ${milliseconds(module.us)} ms`);
    line("cause", module.causes.map((at) => data.causes[at]).join("; "));
    if (module.log) cell.append(element("pre", module.log.join("\n")));
    const row = element("tr", null, "more");
    row.append(cell);
    return row;
  }

  function toggle(button, row, module) {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) row.nextElementSibling.remove();
    else row.after(details(module));
  }

  function rowOf(module) {
    const row = element("tr");
    const head = element("th");
    head.scope = "row";
    const button = element("button", module.name);
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => toggle(button, row, module));
    head.append(button);
    const outcome = element("td", module.outcome, module.outcome === "VERIFIED" ? "good" : "bad");
    row.append(
      head,
      outcome,
      element("td", number(module.bytes), "number"),
      element("td", module.load, "wide"),
      element("td", milliseconds(module.us), "number wide"),
      element("td", module.file, "wide"),
    );
    return row;
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(state.shown.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const first = state.page * PAGE;
    const rows = state.shown.slice(first, first + PAGE);
    body.replaceChildren(...rows.map(rowOf));
    const total = state.shown.length === modules.length ? "" : ` of ${number(modules.length)}`;
    byId("count").textContent = `${number(state.shown.length)}${total} modules`;
    byId("page").textContent = rows.length ? `${number(first + 1)} to ${number(first + rows.length)}` : "none";
    byId("pages").hidden = pages === 1;
    byId("previous").disabled = state.page === 0;
    byId("next").disabled = state.page === pages - 1;
  }

  function compare(one, other) {
    const [a, b] = [one[state.key], other[state.key]];
    const order = typeof a === "number" || typeof b === "number" ? (a ?? -1) - (b ?? -1) : a < b ? -1 : a > b ? 1 : 0;
    return state.down ? -order : order;
  }

  function select() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const outcome = byId("outcome").value;
    const cause = byId("cause")?.value ?? "";
    state.shown = modules.filter(
      (module) =>
        (!outcome || module.outcome === outcome) &&
        (!cause || module.causes.includes(Number(cause))) &&
        words.every((word) => module.text.includes(word)),
    );
    if (state.key) state.shown.sort(compare);
    state.page = 0;
    draw();
  }

  function sortBy(head, key) {
    // Of numbers the largest are asked for first.
    state.down = state.key === key ? !state.down : head.classList.contains("number");
    state.key = key;
    for (const other of byId("table").tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    select();
  }

  for (const head of byId("table").tHead.rows[0].cells) {
    const button = head.firstElementChild;
    button.addEventListener("click", () => sortBy(head, button.dataset.key));
  }
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("input", select);
  byId("previous").addEventListener("click", () => { state.page -= 1; draw(); });
  byId("next").addEventListener("click", () => { state.page += 1; draw(); });
  for (const button of document.querySelectorAll("button.show")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      byId("search").value = byId("outcome").value = "";
      byId("cause").value = button.dataset.cause;
      select();
      byId("cause").focus();
      byId("modules").scrollIntoView();
    });
  }
  byId("filters").hidden = byId("table").hidden = false;
  select();
})();
