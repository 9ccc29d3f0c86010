"use strict";

// Figures are links to their files; here they open in place. A click, Escape or "close" leads back.
const large = document.getElementById("large");
document.querySelectorAll("figure.picture a").forEach(link => {
  link.title = "enlarge";
  link.addEventListener("click", event => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    const image = large.querySelector("img");
    image.src = link.href;
    image.alt = link.firstElementChild.alt;
    large.showModal();
  });
});
large.addEventListener("click", () => large.close());

// Sliders: every state is a cell of its panel's picture.
document.querySelectorAll("figure.drag").forEach(drag => {
  const inputs = [...drag.querySelectorAll("input[type=range]")];
  const show = () => {
    const at = inputs.map(input => Number(input.value));
    drag.querySelectorAll(".panel").forEach(panel => {
      const {rows, columns, said} = panel.dataset;
      const row = Math.min(at[0], rows - 1), column = Math.min(at[1] || 0, columns - 1);
      panel.style.setProperty("--row", row);
      panel.style.setProperty("--column", column);
      const text = said.split("|")[row * columns + column];
      panel.querySelector(".said").textContent = text;
      panel.querySelector("img").alt = `${panel.querySelector("p").textContent}: ${text}`;
    });
    inputs.forEach(input => {
      const name = input.dataset.names.split("|")[input.value];
      input.nextElementSibling.textContent = name;
      input.setAttribute("aria-valuetext", name);
    });
  };
  inputs.forEach(input => input.addEventListener("input", show));
  drag.querySelector(".controls").hidden = false;
});

// Tables that say so are sorted by a click on a head, and filtered by text and, where they have verdicts, by these.
document.querySelectorAll("table[data-sortable]").forEach(table => {
  const rows = [...table.tBodies[0].rows];
  const text = (row, n) => row.cells[n] ? row.cells[n].textContent.trim() : "";
  const number = one => parseFloat(one.replace("\u2212", "-"));
  const order = (one, other) => number(one) - number(other) || one.localeCompare(other, "en", {numeric: true});
  table.querySelectorAll("thead th").forEach((head, n) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("thead th").forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows.sort((a, b) => order(text(a, n), text(b, n)) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    });
  });

  const at = [...table.querySelectorAll("thead th")].findIndex(head => head.textContent.trim() === "verdict");
  const verdicts = at < 0 ? [] : [...new Set(rows.map(row => text(row, at)))];
  const bar = document.createElement("p");
  bar.className = "filter";
  const find = document.createElement("input");
  find.type = "search";
  find.placeholder = "filter";
  find.setAttribute("aria-label", "filter the table");
  const menu = document.createElement("select");
  menu.setAttribute("aria-label", "verdict");
  menu.append(new Option("all verdicts", ""), ...verdicts.map(verdict => new Option(verdict, verdict)));
  const count = document.createElement("output");
  const filter = () => {
    const wanted = find.value.trim().toLowerCase();
    rows.forEach(row => {
      row.hidden = !row.textContent.toLowerCase().includes(wanted)
        || Boolean(menu.value && text(row, at) !== menu.value);
    });
    count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length}`;
  };
  find.addEventListener("input", filter);
  menu.addEventListener("input", filter);
  bar.append(find, ...(verdicts.length > 1 ? [menu] : []), count);
  (table.closest(".wide") || table).before(bar);
  filter();
});
