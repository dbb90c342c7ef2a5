// The verdict, and the table of what was watched.

const STATES = {
  leak: "Leak",
  growing: "Growing",
  steady: "No leak",
  unwatched: "Not watched",
  empty: "Nothing recorded",
};

function showVerdict({ state, headline, sentences, commands }, memory) {
  byId("verdict").dataset.state = state;
  byId("state").textContent = STATES[state];
  byId("headline").textContent = visible(headline);
  const box = byId("sentences");
  for (const sentence of sentences) box.append(element("p", null, visible(sentence)));
  if (commands.length) box.append(element("pre", null, commands.join("\n")));
  if (memory && memory.sentence) {
    box.append(
      element(
        "p",
        null,
        visible(memory.sentence) + " ",
        element("a", { href: "#memory" }, "In numbers"),
      ),
    );
  }
}

function processOf(process) {
  const called = process.name || process.label || process.initial_call;
  const text = process.pid + (called ? " " + called : "");
  return visible(text) + " (" + bytes(process.bytes) + ")";
}

function showLeaks(search) {
  byId("leaks").hidden = leaks.length === 0;
  const grew = leaks.filter((leak) => leak.verdict !== "steady");
  const more = byId("more-leaks");
  more.hidden = grew.length === leaks.length;
  more.textContent = "Show " + count(leaks.length - grew.length) + " that did not grow";
  more.addEventListener("click", () => {
    more.hidden = true;
    fillLeaks(leaks, search);
  });
  fillLeaks(grew, search);
}

function fillLeaks(rows, search) {
  fill(
    byId("leak-table"),
    [
      {
        label: "Verdict",
        cell: (leak) =>
          element(
            "strong",
            { class: "state", "data-state": leak.verdict },
            STATES[leak.verdict] || leak.verdict,
          ),
      },
      {
        label: "Function",
        wide: true,
        cell: ({ site }) => functionOf(site, site.where && searches(site.where, search)),
      },
      { label: "Application", cell: ({ site }) => site.app || "" },
      {
        label: "Called NIF, process",
        cell: (leak) => lines(leak.site.caller || "–", ...leak.processes.map(processOf)),
      },
      {
        label: "A minute",
        number: true,
        cell: (leak) => withError(leak.bytes_per_minute, leak.bytes_per_minute_error, bytes),
      },
      {
        label: "Survival",
        number: true,
        cell: (leak) =>
          lines(
            percent(leak.survival),
            count(leak.frees) + " of " + count(leak.allocations) + " freed",
          ),
      },
    ],
    rows,
  );
}
