// What the resident memory is, and what the page's figures stand on.

function showMemory(memory) {
  byId("memory").hidden = false;
  byId("memory-sentence").textContent = visible(memory.sentence || "");
  byId("memory-advice").textContent = visible(memory.advice || "");
  byId("memory-notes").append(...memory.notes.map((note) => element("li", null, visible(note))));
  const whole = memory.lines.reduce((sum, line) => sum + Math.max(0, line.bytes), 0) || 1;
  memory.lines.forEach((line, i) => {
    if (line.bytes <= 0) return;
    const part = element("span", {
      class: "part",
      "data-part": i % 8,
      title: visible(line.name) + ": " + bytes(line.bytes),
    });
    part.style.flexGrow = line.bytes / whole;
    byId("memory-bar").append(part);
  });
  const rows = [];
  const walk = (of, depth, part) =>
    of.forEach((line, i) => {
      const own = part === null ? i % 8 : part;
      rows.push({ ...line, depth, part: own });
      walk(line.lines || [], depth + 1, own);
    });
  walk(memory.lines, 0, null);
  const made = fill(
    byId("memory-table"),
    [
      {
        label: "What",
        cell: (line) =>
          element("span", { class: "depth", "data-part": line.part }, visible(line.name)),
      },
      { label: "Bytes", number: true, cell: (line) => bytes(line.bytes) },
      {
        label: "Of the resident memory",
        number: true,
        cell: (line) => (memory.rss_bytes ? percent(line.bytes / memory.rss_bytes) : ""),
      },
      {
        label: "Source",
        wide: true,
        cell: (line) => element("span", { class: "quiet" }, visible(line.source || "")),
      },
    ],
    [
      ...rows,
      { name: "Resident memory", bytes: memory.rss_bytes, depth: 0, part: "sum", source: "" },
    ],
  );
  made.forEach((tr, i) =>
    tr.querySelector(".depth").style.setProperty("--depth", rows[i] ? rows[i].depth : 0),
  );
  made[made.length - 1].className = "sum";
}

function showCoverage({ recorded, slots, interval, ignored, thinned }) {
  byId("coverage-sentence").textContent =
    interval > 0
      ? "A sample: an allocation of n bytes was drawn with probability 1 − exp(−(n + 1024) / " +
        count(interval) +
        "), and each chunk stands for those of its kind. ± is one standard error: the truth lies within twice that in 19 of 20 cases."
      : "Everything that was allocated since tracing began is counted, as far as the table had room.";
  const figures = [
    ["Recorded", count(recorded) + " of " + count(slots) + " slots"],
    ["Interval", interval > 0 ? bytes(interval) : "0 (everything)"],
    ["Ignored, for want of room", count(ignored)],
    ["Thinned out", count(thinned)],
    ["Node", visible(data.node)],
    ["OTP", visible(data.otp_release)],
    ["Taken at", data.taken_at],
    ["Mtrace", visible(data.mtrace)],
  ];
  byId("coverage").append(
    ...figures
      .filter(([, text]) => text)
      .map(([name, text]) =>
        element("div", null, element("dt", null, name), element("dd", null, text)),
      ),
  );
}
