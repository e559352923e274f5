
"use strict";
(() => {
  const svg = "http://www.w3.org/2000/svg";
  const rows = [...document.querySelectorAll("#records tbody tr[data-secret]")];
  if (rows.length === 0) return;
  const times = rows.map((row) => Date.parse(row.dataset.time));
  const first = times.reduce((a, b) => Math.min(a, b)), last = times.reduce((a, b) => Math.max(a, b));
  const at = (time) => (last === first ? 50 : 1 + (98 * (time - first)) / (last - first)).toFixed(3) + "%";
  const bySecret = new Map();
  rows.forEach((row, i) => {
    const all = bySecret.get(row.dataset.secret) ?? [];
    all.push({ time: times[i], row });
    bySecret.set(row.dataset.secret, all);
  });
  const lines = document.getElementById("lines");
  for (const [secret, changes] of [...bySecret].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const line = document.createElement("div");
    line.className = "line";
    const name = document.createElement("span");
    name.textContent = secret;
    const drawing = document.createElementNS(svg, "svg");
    drawing.setAttribute("role", "img");
    drawing.setAttribute("aria-label", `${changes.length} changes of ${secret}`);
    const axis = document.createElementNS(svg, "line");
    for (const [k, v] of Object.entries({ x1: "0", x2: "100%", y1: "12", y2: "12", stroke: "#bbb" })) axis.setAttribute(k, v);
    drawing.append(axis);
    for (const { time, row } of changes) {
      const dot = document.createElementNS(svg, "circle");
      for (const [k, v] of Object.entries({ cx: at(time), cy: "12", r: "5", class: row.dataset.kind })) dot.setAttribute(k, v);
      const title = document.createElementNS(svg, "title");
      title.textContent = `${row.dataset.kind} ${row.dataset.time}`;
      dot.append(title);
      dot.addEventListener("click", () => row.scrollIntoView({ block: "center" }));
      drawing.append(dot);
    }
    line.append(name, drawing);
    lines.append(line);
  }
  document.getElementById("filter").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const line of lines.children) line.hidden = !line.firstChild.textContent.toLowerCase().includes(wanted);
    for (const row of rows) row.hidden = !row.dataset.secret.toLowerCase().includes(wanted);
  });
  document.getElementById("timelines").hidden = false;
})();
