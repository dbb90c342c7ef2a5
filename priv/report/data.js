// The page's data as objects, and numbers and names as text for people.

const data = JSON.parse(document.getElementById("data").textContent);

// Names come from other people's files. Control characters, and those that turn the direction of
// writing, would not be seen: they are written out.
const visible = (text) =>
  text.replace(
    /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (char) => "\\u{" + char.codePointAt(0).toString(16) + "}",
  );

const strings = data.strings.map(visible);
const string = (index) => (index < 0 ? null : strings[index]);
const basename = (path) => (path === null ? null : path.slice(path.lastIndexOf("/") + 1));

// Names of C++ and Rust write types out, and the function stands at the end: "a::b<…>::c(…)".
function brief(name) {
  if (name.length <= 48 || name.includes("operator")) return name;
  // "<T as Trait>::function" begins with what it is of.
  const kept = name.startsWith("<") ? 1 : 0;
  let depth = 0;
  let text = "";
  for (const char of name.replace(/->/g, "\u2192")) {
    if ("<(".includes(char)) {
      if (depth <= kept) text += char;
      if (depth === kept) text += "…";
      depth += 1;
    } else if (">)".includes(char)) {
      depth -= 1;
      if (depth <= kept) text += char;
    } else if (depth <= kept) {
      text += char;
    }
  }
  return depth === 0 ? text.replace(/\u2192/g, "->") : name;
}

const frames = data.frames.map(([name, library, file, line, app, flags]) => {
  const has = (flag) => (flags & data.flags[flag]) !== 0;
  const frame = {
    name: string(name),
    brief: brief(string(name)),
    library: string(library),
    file: string(file),
    line,
    app: string(app),
    inlined: has("inlined"),
    unnamed: has("unnamed"),
    hook: has("hook"),
  };
  frame.kind = has("erlang") ? "erlang" : frame.app && !frame.hook ? "own" : "other";
  frame.place = frame.file && basename(frame.file) + (line ? ":" + line : "");
  frame.searched = [frame.name, frame.library, frame.file, frame.app].join("\n").toLowerCase();
  // Frames of one function are one in the graph, whatever their lines.
  frame.key = [name, library, app, flags].join();
  return frame;
});

function siteOf(row) {
  const site = {};
  data.columns.forEach((column, i) => {
    site[column] = row[i];
  });
  site.where = site.where < 0 ? null : frames[site.where];
  site.stack = site.stack.map((index) => frames[index]);
  for (const key of ["app", "caller", "allocator"]) site[key] = string(site[key]);
  return site;
}

const sites = data.sites.map(siteOf);
const leaks = data.leaks.map((leak) => ({ ...leak, site: siteOf(leak.site) }));
// What a site blames is not the system's, though no application may bring it.
const blamed = new Set(
  [...sites, ...leaks.map((leak) => leak.site)]
    .filter((site) => site.blamed)
    .map((site) => site.where.library),
);
for (const frame of frames)
  if (frame.kind === "other" && blamed.has(frame.library)) frame.kind = "own";

for (const leak of leaks) {
  leak.site.growth_bytes = Math.max(0, leak.growth_bytes);
  leak.site.growth_bytes_error = leak.growth_bytes_error;
}

const UNITS = [
  ["GiB", 2 ** 30],
  ["MiB", 2 ** 20],
  ["KiB", 2 ** 10],
];

function bytes(n) {
  if (n === null || n === undefined) return "";
  const [name, size] = UNITS.find(([, unit]) => Math.abs(n) >= unit) || ["B", 1];
  return (n / size).toFixed(size === 1 ? 0 : 1) + "\u00a0" + name;
}

const count = (n) => (n === null || n === undefined ? "" : Math.round(n).toLocaleString("en-GB"));
const percent = (share) => (100 * share).toFixed(1) + "\u00a0%";
const withError = (n, error, format) => format(n) + (error > 0 ? " ± " + format(error) : "");

// element("td", { class: "number" }, "text", child...): text is text, whatever it holds.
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const byId = (id) => document.getElementById(id);
