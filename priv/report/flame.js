// The flame graph: the outermost function on top, d3-flame-graph beneath. What the library does not
// do is added to its elements after each time it drew: colours by kind, keyboard, labels.

const VALUES = {
  live_bytes: { label: "live bytes", format: bytes, error: "live_bytes_error" },
  live: { label: "live chunks", format: count, error: "live_error" },
  allocated_bytes: { label: "allocated bytes", format: bytes, error: "allocated_bytes_error" },
  growth_bytes: { label: "growth in bytes", format: bytes, error: "growth_bytes_error" },
};

// The hook and what is below it are the same in every stack.
function functions(stack) {
  const from = stack.findIndex((frame) => !frame.hook);
  return from < 0 ? stack : stack.slice(from);
}

function node(frame, name) {
  return {
    frame,
    name,
    value: 0,
    variance: 0,
    sites: 0,
    children: [],
    places: new Set(),
    byKey: new Map(),
  };
}

function add(to, site, value, error) {
  to.value += value;
  to.variance += error * error;
  to.sites += 1;
}

function treeOf(chosen, key) {
  const root = node(null, "all");
  for (const site of chosen) {
    const value = site[key] || 0;
    const error = site[VALUES[key].error] || 0;
    if (value <= 0) continue;
    add(root, site, value, error);
    let at = root;
    for (const frame of functions(site.stack).reverse()) {
      let child = at.byKey.get(frame.key);
      if (!child) {
        child = node(frame, frame.name);
        at.byKey.set(frame.key, child);
        at.children.push(child);
      }
      add(child, site, value, error);
      if (frame.place) child.places.add(frame.place);
      at = child;
    }
  }
  return root;
}

function places(node) {
  const [first, ...others] = node.places;
  if (!others.length) return first || null;
  return (
    first + " and " + (others.length === 1 ? "another line" : others.length + " other lines")
  );
}

const CELL = 20;

class FlameGraph {
  constructor(box, { onFrame, onFound }) {
    this.box = box;
    this.onFrame = onFrame;
    this.onFound = onFound;
    this.key = "live_bytes";
    this.term = "";
  }

  get format() {
    return VALUES[this.key].format;
  }

  // Draws these sites anew, by this value, unzoomed.
  show(chosen, key) {
    this.key = key;
    this.tree = treeOf(chosen, key);
    this.at = null;
    if (!this.chart) this.create();
    this.chart.width(this.width());
    if (this.tree.value > 0) {
      this.box.hidden = false;
      if (this.drawn) this.chart.update(this.tree);
      else d3.select(this.box).datum(this.tree).call(this.chart);
      this.drawn = true;
    } else {
      this.box.hidden = true;
    }
    this.search(this.term);
    this.onFrame(null);
    return this.tree;
  }

  create() {
    this.chart = d3
      .flamegraph()
      .inverted(true)
      .cellHeight(CELL)
      .minFrameSize(3)
      .transitionDuration(0)
      .resetHeightOnZoom(true)
      .sort((a, b) => b.data.value - a.data.value)
      .getName((d) => (d.data.frame ? d.data.frame.brief : d.data.name))
      .label((d) => this.describe(d))
      .setDetailsHandler(() => {})
      .setSearchMatch((d, term) => this.matches(d.data, term))
      .setSearchHandler((found) => this.found(found))
      .onHover((d) => this.onFrame(d.data, d.data.value / this.tree.value))
      .onClick((d) => this.zoomed(d));
    this.box.addEventListener("keydown", (event) => this.keydown(event));
    this.box.addEventListener("focusin", (event) => this.focused(event.target.__data__));
    new ResizeObserver(() => this.resize()).observe(this.box.parentElement);
  }

  width() {
    return Math.max(this.box.parentElement.clientWidth, 200);
  }

  resize() {
    if (!this.drawn || this.box.hidden || this.chart.width() === this.width()) return;
    this.chart.width(this.width()).update();
    this.decorate();
  }

  search(term) {
    this.term = term;
    if (!this.drawn || this.box.hidden) return;
    if (term) this.chart.search(term);
    else this.chart.clear();
    if (!term) this.onFound(0, 0, 0);
    this.decorate();
  }

  // Counted once where a frame that is found stands within another. The library's own sum is that of
  // what is zoomed into.
  found(nodes) {
    const within = (d) => d.parent !== null && (d.parent.highlight === true || within(d.parent));
    const sum = nodes.reduce((sum, d) => sum + (within(d) ? 0 : d.data.value), 0);
    this.onFound(nodes.length, sum, this.tree.value);
  }

  matches({ frame }, term) {
    if (!frame) return false;
    const needle = term.toLowerCase();
    return frame.searched.includes(needle);
  }

  unzoom() {
    this.chart.resetZoom();
  }

  zoomed(d) {
    this.at = d;
    this.decorate();
    this.onFrame(d.data, d.data.value / this.tree.value, d.parent !== null);
  }

  describe(d) {
    const { name, frame, value, variance } = d.data;
    const amount = withError(value, Math.sqrt(variance), this.format);
    const where =
      frame && [places(d.data), frame.app || basename(frame.library)].filter(Boolean).join(", ");
    return (
      name + (where ? ", " + where : "") + ": " + amount + ", " + percent(value / this.tree.value)
    );
  }

  // A tree in the sense of ARIA: one stop for the tab key, arrows within.
  decorate() {
    this.elements = new Map();
    let depth = 0;
    const svg = this.box.querySelector("svg");
    svg.setAttribute("role", "tree");
    svg.setAttribute("aria-label", "Flame graph of " + VALUES[this.key].label);
    for (const g of svg.querySelectorAll("g.frame")) {
      const d = g.__data__;
      this.elements.set(d, g);
      depth = Math.max(depth, d.depth);
      g.dataset.kind = d.data.frame ? d.data.frame.kind : "all";
      g.toggleAttribute("data-match", d.highlight === true);
      g.setAttribute("role", "treeitem");
      g.setAttribute("aria-level", d.depth + 1);
      g.setAttribute("aria-label", this.describe(d));
      g.setAttribute("tabindex", "-1");
    }
    // The library leaves room for a title.
    svg.setAttribute("height", (depth + 1) * CELL);
    const stop = this.elements.get(this.at) || this.box.querySelector("g.frame");
    if (stop) stop.setAttribute("tabindex", "0");
  }

  focused(d) {
    if (!d || !d.data) return;
    for (const g of this.box.querySelectorAll('g[tabindex="0"]'))
      g.setAttribute("tabindex", "-1");
    this.elements.get(d).setAttribute("tabindex", "0");
    this.onFrame(d.data, d.data.value / this.tree.value);
  }

  keydown(event) {
    const d = event.target.__data__;
    if (!d || !d.data) return;
    const drawn = (others) => (others || []).filter((other) => this.elements.has(other));
    const beside = drawn(d.parent ? d.parent.children : [d]);
    const at = beside.indexOf(d);
    const to = {
      ArrowUp: d.parent,
      ArrowDown: drawn(d.children)[0],
      ArrowLeft: beside[at - 1],
      ArrowRight: beside[at + 1],
    };
    if (event.key in to) {
      const g = this.elements.get(to[event.key]);
      if (g) g.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      this.chart.zoomTo(d);
      this.elements.get(d).focus();
    } else if (event.key === "Escape") {
      this.unzoom();
      this.elements.get(d).focus();
    } else {
      return;
    }
    event.preventDefault();
  }
}
