// What the tables of leaks, sites and memory have in common.

// A table whose cells carry their column's name, which a narrow screen shows before each.
function fill(table, columns, rows) {
  const kind = ({ number, wide, narrow }) =>
    number ? "number" : wide ? "wide" : narrow && "narrow";
  const head = columns.map((column) =>
    element(
      "th",
      { scope: "col", role: "columnheader", class: kind(column) },
      column.heading || column.label,
    ),
  );
  const body = rows.map((row) =>
    element(
      "tr",
      { role: "row" },
      ...columns.map((column) =>
        element(
          "td",
          { role: "cell", class: kind(column), "data-label": column.label },
          column.cell(row),
        ),
      ),
    ),
  );
  table.setAttribute("role", "table");
  table.replaceChildren(
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...head)),
    element("tbody", { role: "rowgroup" }, ...body),
  );
  return body;
}

const lines = (...texts) =>
  element(
    "span",
    { class: "lines" },
    ...texts
      .filter(Boolean)
      .map((text, i) =>
        typeof text === "string" ? element("span", { class: i > 0 && "quiet" }, text) : text,
      ),
  );

function functionOf(site, button) {
  const frame = site.where;
  if (!frame) return element("span", { class: "quiet" }, "no stack");
  const name =
    button ||
    element("span", { class: frame.unnamed && "unnamed", title: frame.name }, frame.brief);
  const library = frame.app ? null : basename(frame.library);
  return lines(
    name,
    [frame.place, frame.inlined && "inlined", library].filter(Boolean).join(", "),
  );
}

// A link to the flame graph: what is clicked there is what is searched.
function searches(frame, search) {
  const button = element(
    "button",
    { type: "button", class: "link", title: "Show in the flame graph: " + frame.name },
    frame.brief,
  );
  button.addEventListener("click", () => search(frame.name));
  return button;
}
