// The table of sites: sorted by any column, each with its stack behind a button.

const AT_ONCE = 30;

class Sites {
  constructor(search) {
    this.search = search;
    this.sort = { key: "live_bytes", down: true };
    this.columns = [
      {
        label: "Live",
        key: "live_bytes",
        number: true,
        cell: (site) => withError(site.live_bytes, site.live_bytes_error, bytes),
      },
      {
        label: "Chunks",
        key: "live",
        number: true,
        cell: (site) => withError(site.live, site.live_error, count),
      },
      { label: "Function", key: "where", wide: true, cell: (site) => this.functionOf(site) },
      { label: "Application", key: "app", cell: (site) => site.app || "" },
      { label: "Called NIF", key: "caller", cell: (site) => site.caller || "–" },
      { label: "By", key: "allocator", narrow: true, cell: (site) => site.allocator },
      {
        label: "Allocated",
        key: "allocated_bytes",
        number: true,
        cell: (site) => withError(site.allocated_bytes, site.allocated_bytes_error, bytes),
      },
      {
        label: "Freed",
        key: "freed_bytes",
        number: true,
        cell: (site) => bytes(site.freed_bytes),
      },
      { label: "Peak", key: "peak_bytes", number: true, cell: (site) => bytes(site.peak_bytes) },
    ];
    byId("more-sites").addEventListener("click", () => {
      this.limit = Infinity;
      this.draw();
    });
  }

  show(chosen) {
    this.chosen = chosen;
    this.limit = AT_ONCE;
    this.draw();
  }

  draw() {
    const { key, down } = this.sort;
    const value = (site) => (key === "where" ? site.where && site.where.name : site[key]) ?? "";
    const compare = (a, b) => (typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0);
    const sorted = [...this.chosen].sort((a, b) => compare(value(a), value(b)) * (down ? -1 : 1));
    const shown = sorted.slice(0, this.limit);
    fill(
      byId("site-table"),
      this.columns.map((column) => ({ ...column, heading: this.heading(column) })),
      shown,
    );
    byId("site-table")
      .querySelectorAll("th")
      .forEach((th, i) => {
        if (this.columns[i].key === key)
          th.setAttribute("aria-sort", down ? "descending" : "ascending");
      });
    const more = byId("more-sites");
    more.hidden = shown.length === sorted.length;
    more.textContent = "Show all " + count(sorted.length);
    byId("sites-note").textContent = this.note(shown.length, sorted.length);
  }

  note(shown, all) {
    if (all === 0) return "No site matches.";
    return (
      "One for each different stack: " +
      (shown < all ? "the first " + count(shown) + " of " : "") +
      count(all) +
      ". A function opens its stack."
    );
  }

  heading({ label, key, number }) {
    const button = element("button", { type: "button", class: "sort" }, label);
    button.addEventListener("click", () => {
      const same = this.sort.key === key;
      this.sort = { key, down: same ? !this.sort.down : Boolean(number) };
      this.draw();
      byId("site-table")
        .querySelectorAll("th button")
        [this.columns.findIndex((c) => c.key === key)].focus();
    });
    return button;
  }

  functionOf(site) {
    if (!site.where) return functionOf(site);
    const button = element(
      "button",
      { type: "button", class: "link", "aria-expanded": "false", title: site.where.name },
      site.where.brief,
    );
    button.addEventListener("click", () => this.toggle(site, button));
    return functionOf(site, button);
  }

  toggle(site, button) {
    const row = button.closest("tr");
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) {
      row.nextSibling.remove();
      return;
    }
    const list = element(
      "ol",
      { class: "stack" },
      ...site.stack.map((frame) =>
        element(
          "li",
          { "data-kind": frame.kind },
          frame.hook ? frame.name : searches(frame, this.search),
          element(
            "span",
            { class: "quiet" },
            [frame.inlined && "inlined", frame.place, basename(frame.library), frame.app]
              .filter(Boolean)
              .map((t) => " " + t)
              .join(""),
          ),
        ),
      ),
    );
    row.after(
      element(
        "tr",
        { role: "row", class: "open" },
        element("td", { role: "cell", colspan: this.columns.length }, list),
      ),
    );
  }
}
