// Puts the page together: what is chosen above the flame graph decides what it and the sites show.

const chosen = { app: null, caller: null, value: "live_bytes" };
const NONE = "\u0000";

// One filter: every different text of the sites with its live bytes, most first.
function options(select, key, everything, without) {
  const sums = new Map();
  for (const site of sites) {
    const text = site[key] ?? NONE;
    sums.set(text, (sums.get(text) || 0) + site.live_bytes);
  }
  select.append(element("option", { value: "" }, everything));
  [...sums]
    .sort((a, b) => b[1] - a[1])
    .forEach(([text, sum]) => {
      const option = element(
        "option",
        null,
        (text === NONE ? without : text) + " (" + bytes(sum) + ")",
      );
      option.value = JSON.stringify(text);
      select.append(option);
    });
  select.addEventListener("change", () => {
    chosen[key] = select.value === "" ? null : JSON.parse(select.value);
    draw();
  });
}

const passes = (site) =>
  ["app", "caller"].every((key) => chosen[key] === null || (site[key] ?? NONE) === chosen[key]);

function valueChoice() {
  for (const [key, { label }] of Object.entries(VALUES)) {
    if (key === "growth_bytes" && leaks.length === 0) continue;
    const input = element("input", { type: "radio", name: "value", value: key });
    input.checked = key === chosen.value;
    input.addEventListener("change", () => {
      chosen.value = key;
      draw();
    });
    byId("values").append(element("label", null, input, " " + label));
  }
}

const LEGEND = [
  ["erlang", "Erlang and Elixir"],
  ["own", "native code of applications and libraries"],
  ["other", "of the emulator and the system"],
];

function legend() {
  for (const [kind, label] of LEGEND) {
    byId("legend").append(element("span", { class: "kind", "data-kind": kind }, label));
  }
}

function showFrame(node, share, zoomedIn) {
  if (zoomedIn !== undefined || node === null) byId("unzoom").disabled = !zoomedIn;
  const box = byId("frame");
  if (!node || !node.frame) {
    box.replaceChildren(
      element(
        "span",
        { class: "quiet" },
        "The outermost function is on top. Point at a frame, or go by the " +
          "arrow keys, to see what it is; click, or press Enter, to zoom into it. What is too thin to be drawn appears there.",
      ),
    );
    return;
  }
  const { frame } = node;
  const amount = withError(node.value, Math.sqrt(node.variance), flame.format);
  const facts = [
    [
      amount,
      percent(share) + " of what is shown",
      count(node.sites) + (node.sites === 1 ? " site" : " sites"),
    ].join(", "),
    [
      frame.inlined && "inlined",
      frame.file &&
        (node.places.size > 1 ? places(node) : frame.file + (frame.line ? ":" + frame.line : "")),
      frame.library,
      frame.app,
    ]
      .filter(Boolean)
      .join(" · "),
  ];
  box.replaceChildren(
    element("strong", null, frame.name),
    ...facts.map((fact) => element("span", null, fact)),
  );
}

let found = "";

function status(tree) {
  const { label, format } = VALUES[chosen.value];
  const sum = withError(tree.value, Math.sqrt(tree.variance), format);
  byId("shown").textContent =
    sum +
    " (" +
    label +
    ") from " +
    count(tree.sites) +
    (tree.sites === 1 ? " site" : " sites") +
    found;
}

function showFound(n, sum, total) {
  found = !flame.term
    ? ""
    : n === 0
      ? "; the search finds nothing"
      : "; found " +
        count(n) +
        (n === 1 ? " frame" : " frames") +
        " with " +
        flame.format(sum) +
        ", " +
        percent(sum / total);
  status(flame.tree);
}

const flame = new FlameGraph(byId("graph"), { onFrame: showFrame, onFound: showFound });

function draw() {
  const from = chosen.value === "growth_bytes" ? leaks.map((leak) => leak.site) : sites;
  const tree = flame.show(from.filter(passes), chosen.value);
  byId("graph-empty").hidden = tree.value > 0;
  byId("graph-empty").textContent =
    sites.length === 0 ? "Nothing is recorded." : "Nothing to show with this choice.";
  status(tree);
  siteTable.show(sites.filter(passes));
}

function search(term) {
  byId("search").value = term;
  flame.search(term);
  byId("filter").scrollIntoView();
}

const siteTable = new Sites(search);

function theme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const button = byId("theme");
  let own = null;
  const apply = () => {
    const name = own || (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = name;
    button.setAttribute("aria-pressed", String(name === "dark"));
  };
  dark.addEventListener("change", apply);
  button.addEventListener("click", () => {
    own = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    apply();
  });
  apply();
}

theme();
byId("title").textContent = visible(data.title);
byId("taken").textContent = [
  data.title.includes(data.node) ? null : visible(data.node),
  "OTP " + visible(data.otp_release),
  data.taken_at.replace("T", " ").replace(/\.\d+Z$/, " UTC"),
]
  .filter(Boolean)
  .join(" · ");
showVerdict(data.verdict, data.memory);
showLeaks(search);
options(byId("by-app"), "app", "all", "none");
options(byId("by-caller"), "caller", "all", "not from a NIF");
valueChoice();
legend();
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("search").addEventListener("input", (event) => flame.search(event.target.value.trim()));
byId("unzoom").addEventListener("click", () => flame.unzoom());
draw();
if (data.memory) showMemory(data.memory);
showCoverage(data.coverage);
