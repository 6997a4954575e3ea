// Sorting, paging and the filters of the answers. `DataTable` is given by the page.
"use strict";
const words = { search: "", searchPlaceholder: "search", lengthMenu: "_MENU_ a page" };

for (const table of document.querySelectorAll("table.sortable")) {
  const paged = table.dataset.paged === "1";
  new DataTable(table, {
    order: [], paging: paged, searching: paged, info: paged, pageLength: 15, language: words,
    autoWidth: false, lengthMenu: [15, 50, { label: "all", value: -1 }],
  });
}

const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const number = (score) => (score === null ? "–" : String(Math.round(1000 * score) / 10));
const marks = { gained: "▲ gained", lost: "▼ lost", "": "" };

function item(row) {
  const scores = row.base_score === null ? number(row.score)
    : `${number(row.base_score)} → ${number(row.score)}`;
  const mark = marks[row.flipped] ? `<b class=${row.flipped}>${marks[row.flipped]}</b> ` : "";
  return `<code>${escaped(row.adapter)}</code><br>${escaped(row.task)}<br>`
    + `${mark}${scores}<br><small>${escaped(row.id)}</small>`;
}

const text = (value) => `<pre>${escaped(value === null ? "–" : value)}</pre>`;
const shown = (render, plain) => (data, kind, row) =>
  kind === "display" ? render(row) : plain(row);

const rows = JSON.parse(document.getElementById("answers-data").textContent);
const answers = new DataTable("#answers", {
  data: rows, pageLength: 10, order: [], language: words, autoWidth: false, deferRender: true,
  lengthMenu: [10, 25, 100],
  columns: [
    { data: null, title: "item", render: shown(item, (row) => `${row.adapter} ${row.task} ${row.id}`) },
    { data: null, title: "input and target", render: shown(
      (row) => `${text(row.input)}<span class=target>target</span>${text(row.target)}`,
      (row) => `${row.input} ${row.target}`) },
    { data: null, title: "base", render: shown((row) => text(row.base), (row) => row.base || "") },
    { data: null, title: "adapter", render: shown((row) => text(row.text), (row) => row.text) },
  ],
  createdRow: (tr) => ["item", "input", "base", "adapter"].forEach(
    (name, at) => { tr.children[at].dataset.name = name; }),
});

const wanted = { task: "", adapter: "", flipped: "" };
const options = {
  task: [...new Set(rows.map((row) => row.task))],
  adapter: [...new Set(rows.map((row) => row.adapter))],
  flipped: ["gained", "lost", "gained or lost"],
};
answers.search.fixed("filters", (_, row) =>
  (!wanted.task || row.task === wanted.task)
  && (!wanted.adapter || row.adapter === wanted.adapter)
  && (!wanted.flipped || row.flipped === wanted.flipped
    || (wanted.flipped === "gained or lost" && row.flipped !== "")));
for (const [name, values] of Object.entries(options)) {
  const select = document.getElementById(`filter-${name}`);
  for (const value of values) select.add(new Option(value, value));
  select.addEventListener("change", () => {
    wanted[name] = select.value;
    answers.draw();
  });
}
document.documentElement.dataset.ready = "1";
