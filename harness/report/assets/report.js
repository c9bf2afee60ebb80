"use strict";

const FEW = 8; // rows of a table that are seen at a glance
const WORDS = new Intl.Collator(undefined, { numeric: true });

function value(row, column) {
  const cell = row.cells[column];
  return cell.dataset.v === undefined ? cell.textContent : cell.dataset.v === "" ? null : Number(cell.dataset.v);
}

function compare(a, b) {
  return typeof a === "string" ? WORDS.compare(a, b) : a - b;
}

function sort(head, order) {
  const column = head.cellIndex;
  const body = head.closest("table").tBodies[0];
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const rows = [...body.rows].map((row) => ({ row, key: value(row, column) }));
  rows.sort((a, b) => {
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
    return sign * compare(a.key, b.key);
  });
  body.append(...rows.map((item) => item.row));
}

function next(head) {
  const order = head.getAttribute("aria-sort");
  return order ? (order === "ascending" ? "descending" : "ascending") : head.dataset.first;
}

function filter(table, words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...table.tBodies[0].rows];
  table.texts ??= new Map(rows.map((row) => [row, [...row.cells].map((cell) => cell.textContent).join("\t").toLowerCase()]));
  for (const row of rows) row.hidden = !wanted.every((word) => table.texts.get(row).includes(word));
  const left = rows.filter((row) => !row.hidden).length;
  table.told.textContent = wanted.length ? `${left} of ${rows.length} rows` : "";
}

// What a table shows is kept behind the # of the address, so that it can be linked to: #runs?q=npr&sort=4.descending
function keep(table) {
  const said = new URLSearchParams();
  if (table.asked?.value) said.set("q", table.asked.value);
  const head = table.querySelector("[aria-sort]");
  if (head) said.set("sort", `${head.cellIndex}.${head.getAttribute("aria-sort")}`);
  history.replaceState(null, "", `#${table.closest("[id]").id}${said.size ? `?${said}` : ""}`);
}

function restore() {
  const [name, said] = location.hash.slice(1).split("?");
  const place = name && document.getElementById(name);
  const table = place && said !== undefined && place.querySelector("table");
  if (!table) return;
  const asked = new URLSearchParams(said);
  const [column, order] = (asked.get("sort") || "").split(".");
  const head = table.tHead.rows[0].cells[Number(column)];
  if (head && /^(a|de)scending$/.test(order)) sort(head, order);
  if (table.asked) {
    table.asked.value = asked.get("q") || "";
    filter(table, table.asked.value);
  }
  if (place.tagName === "DETAILS") place.open = true;
  place.scrollIntoView();
}

for (const table of document.querySelectorAll("table")) {
  for (const head of table.tHead.rows[0].cells) {
    head.firstElementChild.addEventListener("click", () => {
      sort(head, next(head));
      keep(table);
    });
  }
  if (table.tBodies[0].rows.length > FEW) {
    table.asked = Object.assign(document.createElement("input"), { type: "search", placeholder: "Filter rows" });
    table.asked.setAttribute("aria-label", `Filter rows: ${table.caption?.textContent || table.closest("[id]").id}`);
    table.told = document.createElement("output");
    table.asked.addEventListener("input", () => {
      filter(table, table.asked.value);
      keep(table);
    });
    const line = document.createElement("div");
    line.className = "filter";
    line.append(table.asked, table.told);
    table.parentNode.before(line);
  }
}
restore();
addEventListener("hashchange", restore);

const scheme = document.getElementById("scheme");
scheme.hidden = false;
scheme.addEventListener("click", () => {
  const root = document.documentElement;
  const chosen = root.dataset.scheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.scheme = chosen === "dark" ? "light" : "dark";
});

addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
