// Draws a live chart on one canvas: rows of panes (columns, lines, lanes, cells, gauges, states) on a common, scrolling time axis.
//
// What is drawn depends only on the layout, the frames received and the page's theme. Between two frames the picture glides from
// one to the next; a reader who asks for reduced motion gets the frames as they come. No assets, no network.

const GUTTER = 52, EDGE = 10, GAP = 18, HEAD = 26, AXIS = 18, NARROW = 620;
const HEARTBEAT_MS = 5000, FLASH_MS = 1400, FRAME_MS = 30;
const SERIES = new Set(["columns", "lines"]);

export default () => {
  const store = new Store();
  return {
    initialize({ model }) {
      store.attach(model);
      return () => store.detach();
    },
    render({ model, el }) {
      const view = new View(model, store, el);
      return () => view.remove();
    },
  };
};

// What has arrived, shared by all views of one chart.
class Store {
  constructor() {
    this.series = new Map();
    this.lanes = new Map();
    this.latest = {};
    this.words = { text: "", tone: "note", news: "" };
    this.clock = { from: 0, to: 0, at: 0, takes: 100 };
    this.listeners = new Set();
  }

  attach(model) {
    this.model = model;
    this.receive = (message) => this.take(message);
    model.on("msg:custom", this.receive);
    model.send({ ask: "replay" });
  }

  detach() {
    this.model.off("msg:custom", this.receive);
  }

  take(frame) {
    const wall = performance.now();
    if (frame.replay || frame.t < this.clock.to) {
      this.series.clear();
      this.lanes.clear();
      this.latest = {};
      this.clock = { from: frame.t, to: frame.t, at: wall, takes: 100 };
    } else {
      const takes = Math.min(250, Math.max(40, wall - this.clock.at));
      this.clock = { from: this.time(wall), to: frame.t, at: wall, takes };
    }
    for (const pane of this.model.get("rows").flatMap((row) => row.panes)) {
      const data = frame.panes[pane.id];
      if (data === undefined) continue;
      if (SERIES.has(pane.kind)) this.addRows(pane, data, frame.t);
      else if (pane.kind === "lanes") this.addBars(pane, data, frame.t);
      else if (pane.kind === "cells") this.latest[pane.id] = { ...data, gone: this.goneCells(pane, data) };
      else this.latest[pane.id] = data;
    }
    this.words = { text: frame.words, tone: frame.tone, news: frame.news };
    this.listeners.forEach((listener) => listener());
  }

  addRows(pane, rows, t) {
    const kept = this.series.get(pane.id) ?? [];
    kept.push(...rows);
    const old = kept.findIndex((row) => row[0] > t - pane.span - 2 * pane.step);
    this.series.set(pane.id, old > 0 ? kept.slice(old) : kept);
  }

  // Cells that have just left a full window: they are still on the picture while it glides.
  goneCells(pane, data) {
    const before = this.latest[pane.id] ?? { cells: [], count: data.count, gone: [] };
    const left = before.cells.length + data.count - before.count - data.cells.length;
    const sameWindow = data.cells.length === pane.size && data.count - before.count <= before.cells.length;
    return sameWindow ? [...before.gone, ...before.cells.slice(0, Math.max(0, left))].slice(-pane.size) : [];
  }

  addBars(pane, bars, t) {
    const kept = this.lanes.get(pane.id) ?? new Map();
    for (const [lane, start, end, colour, label] of bars) kept.set(`${lane}/${start}`, { lane, start, end, colour, label });
    for (const [key, bar] of kept) if (bar.end !== null && bar.end < t - pane.span) kept.delete(key);
    this.lanes.set(pane.id, kept);
  }

  // The instant that the picture shows: it glides to the last frame's.
  time(wall) {
    const { from, to, at, takes } = this.clock;
    return from + (to - from) * Math.min(1, (wall - at) / takes);
  }

  gliding(wall) {
    return wall - this.clock.at < this.clock.takes;
  }
}

class View {
  constructor(model, store, el) {
    this.model = model;
    this.store = store;
    this.memory = new Map();
    this.cursor = null;
    this.drawnAt = 0;
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.cleanups = [];
    this.build(el);
    this.readTheme();
    this.watch();
    this.hear();
  }

  build(el) {
    this.root = element("div", { class: "course-live-chart" }, el);
    this.words = element("p", { class: "course-live-words" }, this.root);
    this.canvas = element("canvas", { tabindex: "0", role: "img", "aria-label": this.model.get("alt") }, this.root);
    this.news = element("p", { class: "course-live-spoken", "aria-live": "polite" }, this.root);
    this.context = this.canvas.getContext("2d");
  }

  watch() {
    const draw = () => this.request();
    const on = (target, name, handler) => {
      target.addEventListener(name, handler);
      this.cleanups.push(() => target.removeEventListener(name, handler));
    };
    const observe = (observer, target, options) => {
      observer.observe(target, options);
      this.cleanups.push(() => observer.disconnect());
    };
    const hear = () => this.hear();
    this.store.listeners.add(hear);
    this.cleanups.push(() => this.store.listeners.delete(hear));
    observe(new ResizeObserver(() => this.resize()), this.root);
    observe(new IntersectionObserver(([entry]) => ((this.seen = entry.isIntersecting), this.beat(), draw())), this.root);
    // JupyterLab names the theme before its style sheet has loaded: read the colours now and once more.
    const restyle = () => (this.readTheme(), draw());
    const late = () => (restyle(), setTimeout(restyle, 400));
    observe(new MutationObserver(late), document.body, { attributes: true });
    observe(new MutationObserver(late), document.documentElement, { attributes: true });
    on(matchMedia("(prefers-color-scheme: dark)"), "change", restyle);
    on(document, "visibilitychange", () => this.beat());
    on(this.canvas, "pointermove", (event) => this.point(event.offsetX));
    on(this.canvas, "pointerleave", () => this.point(null));
    on(this.canvas, "keydown", (event) => this.press(event));
    on(this.canvas, "blur", () => this.point(null));
    const timer = setInterval(() => this.beat(), HEARTBEAT_MS);
    this.cleanups.push(() => clearInterval(timer));
  }

  remove() {
    cancelAnimationFrame(this.pending);
    this.cleanups.forEach((cleanup) => cleanup());
    this.root.remove();
  }

  // The kernel steps the simulation only while somebody looks.
  beat() {
    if (this.seen && !document.hidden) this.model.send({ ask: "alive" });
  }

  hear() {
    const { text, tone, news } = this.store.words;
    this.words.textContent = text;
    this.words.style.borderLeftColor = this.colour(tone);
    if (news && news !== this.news.textContent) {
      this.news.textContent = news;
      this.canvas.setAttribute("aria-label", `${this.model.get("alt")} ${news}`);
    }
    this.request();
  }

  readTheme() {
    const style = getComputedStyle(this.root);
    const read = (name, fallback) => style.getPropertyValue(name).trim() || fallback;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches && !document.body.dataset.jpThemeName;
    this.theme = {
      paper: read("--jp-layout-color0", dark ? "#111" : "#fff"),
      ink: read("--jp-ui-font-color1", dark ? "#ddd" : "#222"),
      faint: read("--jp-ui-font-color2", dark ? "#aaa" : "#666"),
      rule: read("--jp-border-color2", dark ? "#444" : "#ddd"),
      empty: read("--jp-layout-color2", dark ? "#222" : "#f0f0f0"),
      font: read("--jp-ui-font-family", "system-ui, sans-serif"),
    };
  }

  colour(name) {
    if (name === "ink") return this.theme.ink;
    return this.model.get("colours")[name] ?? this.theme.faint;
  }

  onColour(name) {
    return this.model.get("on_colour")[name] ?? this.theme.ink;
  }

  resize() {
    const width = Math.floor(this.root.clientWidth);
    if (!width) return;
    this.boxes = place(this.model.get("rows"), width);
    this.width = width;
    this.request();
  }

  fitPixels() {
    const ratio = window.devicePixelRatio || 1, { width, boxes } = this;
    const wide = Math.round(width * ratio), high = Math.round(boxes.height * ratio);
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      Object.assign(this.canvas, { width: wide, height: high });
      Object.assign(this.canvas.style, { width: `${width}px`, height: `${boxes.height}px` });
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  request() {
    if (!this.pending) this.pending = requestAnimationFrame((wall) => this.tick(wall));
  }

  tick(wall) {
    this.pending = 0;
    if (!this.boxes || !this.seen) return;
    if (wall - this.drawnAt < FRAME_MS) return this.request();
    this.drawnAt = wall;
    this.moving = !this.calm.matches && this.store.gliding(wall);
    this.wall = wall;
    this.now = this.calm.matches ? this.store.clock.to : this.store.time(wall);
    this.fitPixels();
    this.context.clearRect(0, 0, this.width, this.boxes.height);
    for (const [pane, box] of this.boxes.panes) {
      this.context.save();
      DRAW[pane.kind](this, pane, box);
      this.context.restore();
    }
    if (this.cursor !== null) drawCursor(this);
    if (this.moving) this.request();
  }

  // A number that follows its target: the axis does not jump.
  follow(key, target, speed = 0.25) {
    const before = this.memory.get(key) ?? target;
    const settled = this.calm.matches || Math.abs(target - before) <= 0.004 * Math.abs(target || 1);
    const value = settled ? target : before + (target - before) * speed;
    this.memory.set(key, value);
    if (!settled) this.moving = true;
    return value;
  }

  // 1 when something has just happened, falling to 0; `count` is how often it has happened.
  flash(key, count) {
    const last = this.memory.get(key) ?? { count, at: -Infinity };
    if (count !== last.count) Object.assign(last, { count, at: this.wall });
    this.memory.set(key, last);
    const rest = this.calm.matches ? 0 : Math.max(0, 1 - (this.wall - last.at) / FLASH_MS);
    if (rest > 0) this.moving = true;
    return rest;
  }

  text(string, x, y, { colour = this.theme.ink, size = 12, weight = 400, align = "left", baseline = "middle", room } = {}) {
    const context = this.context;
    context.font = `${weight} ${size}px ${this.theme.font}`;
    context.textAlign = align;
    context.textBaseline = baseline;
    context.fillStyle = colour;
    context.fillText(string, x, y, room);
    return context.measureText(string).width;
  }

  point(x) {
    this.cursor = x;
    this.request();
  }

  press(event) {
    const box = this.boxes?.panes.find(([pane]) => SERIES.has(pane.kind));
    if (!box) return;
    const [pane, { x, w }] = box;
    const left = x + GUTTER, right = x + w - EDGE, stride = ((right - left) / pane.span) * pane.step;
    const moves = { ArrowLeft: -stride, ArrowRight: stride, PageUp: -10 * stride, PageDown: 10 * stride };
    if (event.key === "Escape") this.point(null);
    else if (event.key in moves) {
      this.point(Math.min(right, Math.max(left, (this.cursor ?? right) + moves[event.key])));
      this.news.textContent = readings(this).map(({ label, value }) => `${label} ${value}`).join(", ");
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

const DRAW = { columns: drawSeries, lines: drawSeries, lanes: drawLanes, cells: drawCells, gauges: drawGauges, states: drawStates };

// Where each pane goes: rows side by side, or one below the other where the page is narrow.
function place(layout, width) {
  const panes = [];
  let y = 2;
  for (const row of layout) {
    const narrow = width < NARROW && row.panes.length > 1;
    const columns = new Map();
    for (const pane of row.panes) {
      const name = pane.column ?? pane.id;
      if (!columns.has(name)) columns.set(name, []);
      columns.get(name).push(pane);
    }
    const weights = [...columns.values()].map((column) => column[0].weight);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const room = width - GAP * (columns.size - 1);
    let x = 0, index = 0;
    for (const column of columns.values()) {
      const w = narrow ? width : (room * weights[index++]) / total;
      const shares = column.reduce((sum, pane) => sum + pane.share, 0);
      let top = y;
      for (const pane of column) {
        const h = (row.height * pane.share) / shares;
        panes.push([pane, { x, y: top, w, h }]);
        top += h;
      }
      if (narrow) y += row.height + 8;
      else x += w + GAP;
    }
    if (!narrow) y += row.height + 8;
  }
  return { panes, height: Math.ceil(y) };
}

function head(view, pane, box, legend = []) {
  const { context, theme } = view;
  const start = box.x + view.text(pane.title, box.x, box.y + 10, { weight: 600 }) + 14, room = box.x + box.w - start;
  context.font = `400 11px ${theme.font}`;
  const widths = legend.map(({ label }) => context.measureText(label).width);
  const [size, near, apart] = sum(widths) + legend.length * 25 <= room ? [11, 5, 9] : [8, 3, 6];
  let x = start;
  legend.forEach(({ label, colours, dash }, index) => {
    const wide = size + near + widths[index];
    if (x + wide > start + room) return;
    if (dash) stroke(context, [[x, box.y + 10], [x + size, box.y + 10]], colours[0], 2);
    else fillCell(context, x, box.y + 10 - size / 2, size, size, colours);
    view.text(label, x + size + near, box.y + 10, { size: 11, colour: theme.faint });
    x += wide + apart;
  });
}

function plotBox(pane, box) {
  const bottom = box.y + box.h - (pane.axis ? AXIS : 4);
  return { left: box.x + GUTTER, right: box.x + box.w - EDGE, top: box.y + HEAD, bottom };
}

function timeScale(view, pane, plot) {
  return (t) => plot.right - ((view.now - t) / pane.span) * (plot.right - plot.left);
}

function drawTimeAxis(view, pane, plot) {
  if (!pane.axis) return;
  const every = pane.span / 6;
  for (let back = 0; back <= 6; back++) {
    const x = plot.right - (back / 6) * (plot.right - plot.left);
    const label = back ? `−${format(back * every)} s` : "now";
    const align = back ? (back === 6 ? "left" : "center") : "right";
    view.text(label, x, plot.bottom + 11, { size: 11, colour: view.theme.faint, align });
  }
}

function drawSeries(view, pane, box) {
  const { context, theme, store } = view;
  const stacked = pane.kind === "columns";
  const plot = plotBox(pane, box), toX = timeScale(view, pane, plot);
  const rows = (store.series.get(pane.id) ?? []).filter((row) => row[0] > view.now - pane.span - pane.step);
  const peak = Math.max(pane.least_top, ...rows.map(([, ...values]) => (stacked ? sum(values) : Math.max(...values.map(Number)))));
  const top = view.follow(`top ${pane.id}`, nice(peak));
  const toY = (value) => plot.bottom - (value / top) * (plot.bottom - plot.top);
  head(view, pane, box, pane.series.map(({ label, colour }) => ({ label, colours: [view.colour(colour)], dash: !stacked })));
  const goal = nice(peak);
  for (const part of [0, 0.5, 1]) {
    const y = Math.round(toY(part * goal)) + 0.5;
    if (y < plot.top - 1) continue;
    stroke(context, [[plot.left, y], [plot.right, y]], theme.rule, 1);
    const unit = part === 1 ? ` ${pane.unit}` : "";
    view.text(format(part * goal) + unit, plot.left - 6, y, { size: 11, colour: theme.faint, align: "right", room: GUTTER - 8 });
  }
  drawTimeAxis(view, pane, plot);
  context.beginPath();
  context.rect(plot.left, plot.top - 4, plot.right - plot.left, plot.bottom - plot.top + 5);
  context.clip();
  if (stacked) drawColumns(view, pane, rows, toX, toY);
  else drawLines(view, pane, rows, toX, toY);
  for (const { value, label } of pane.marks) {
    const y = toY(value);
    context.setLineDash([5, 4]);
    stroke(context, [[plot.left, y], [plot.right, y]], theme.faint, 1);
    context.setLineDash([]);
    halo(view, label, plot.left + 4, y - 8, { size: 11, colour: theme.faint });
  }
}

function drawColumns(view, pane, rows, toX, toY) {
  for (const [t, ...values] of rows) {
    const left = toX(t - pane.step), wide = Math.max(1, toX(t) - left - 1);
    let base = 0;
    values.forEach((value, index) => {
      if (!value) return;
      view.context.fillStyle = view.colour(pane.series[index].colour);
      view.context.fillRect(left, toY(base + value), wide, toY(base) - toY(base + value) - (base ? 1 : 0));
      base += value;
    });
  }
}

function drawLines(view, pane, rows, toX, toY) {
  pane.series.forEach(({ colour }, index) => {
    const name = view.colour(colour);
    let run = [];
    const finish = () => {
      if (run.length === 1) dot(view.context, run[0], 2, name);
      else stroke(view.context, run, name, 2);
      run = [];
    };
    for (const row of rows) {
      const value = row[index + 1];
      if (value === null) finish();
      else run.push([toX(row[0]), toY(value)]);
    }
    const end = run.at(-1);
    finish();
    if (end) dot(view.context, end, 3.5, name);
  });
}

function drawLanes(view, pane, box) {
  const { context, theme, store } = view;
  const plot = plotBox(pane, box), toX = timeScale(view, pane, plot);
  head(view, pane, box);
  const tall = (plot.bottom - plot.top) / pane.lanes.length;
  pane.lanes.forEach((lane, index) => {
    const y = plot.top + index * tall;
    view.text(lane, plot.left - 6, y + tall / 2, { size: 11, colour: theme.faint, align: "right", room: GUTTER - 8 });
    context.fillStyle = theme.empty;
    context.fillRect(plot.left, y + 1, plot.right - plot.left, tall - 3);
  });
  drawTimeAxis(view, pane, plot);
  context.beginPath();
  context.rect(plot.left, plot.top, plot.right - plot.left, plot.bottom - plot.top);
  context.clip();
  for (const { lane, start, end, colour, label } of (store.lanes.get(pane.id) ?? new Map()).values()) {
    const row = pane.lanes.indexOf(lane);
    const left = Math.max(plot.left, toX(start)), right = Math.min(plot.right, toX(end ?? view.now));
    if (row < 0 || right <= left) continue;
    const y = plot.top + row * tall + 1;
    context.fillStyle = view.colour(colour);
    context.fillRect(left, y, Math.max(1, right - left - 1), tall - 3);
    if (right - left > 12 && fits(view, label, right - left - 8)) {
      view.text(label, (left + right) / 2, y + (tall - 3) / 2 + 0.5, { size: 11, weight: 600, colour: view.onColour(colour), align: "center" });
    }
  }
}

function drawCells(view, pane, box) {
  const { context, theme } = view;
  const data = view.store.latest[pane.id] ?? { cells: [], count: 0, gone: [] };
  const kinds = Object.values(pane.kinds).map(({ label, colours }) => ({ label, colours: colours.map((name) => view.colour(name)) }));
  head(view, pane, box, kinds);
  const size = pane.size, wide = box.w / size, tall = Math.min(30, box.h - HEAD - 4), y = box.y + HEAD;
  // Cells slide in one by one; a window that was emptied or replaced starts anew.
  const jumped = (view.memory.get(`cells ${pane.id}`) ?? 0) > data.count || data.count - (view.memory.get(`cells ${pane.id}`) ?? 0) > size;
  if (jumped) view.memory.set(`cells ${pane.id}`, data.count);
  const shown = view.follow(`cells ${pane.id}`, data.count, 0.3);
  context.beginPath();
  context.rect(box.x, y, box.w, tall);
  context.clip();
  context.globalAlpha = data.faded ? 0.45 : 1;
  const gap = wide > 7 ? 2 : 1;
  for (let index = 0; index < size; index++) fillCell(context, box.x + index * wide, y, wide - gap, tall, [theme.empty]);
  const lag = data.count - shown, first = data.cells.length >= size ? -data.gone.length : 0;
  [...(first ? data.gone : []), ...data.cells].forEach((name, index) => {
    const kind = pane.kinds[name], x = box.x + (first + index + lag) * wide;
    if (x + wide < box.x) return;
    fillCell(context, x, y, wide - gap, tall, kind.colours.map((colour) => view.colour(colour)));
    if (kind.mark && wide > 7) mark(context, kind.mark, x + (wide - gap) / 2, y + tall / 2, view.onColour(kind.colours[0]));
  });
  context.restore();
  context.save();
  view.text(data.note ?? "", box.x, y + tall + 13, { size: 11, colour: theme.faint });
}

function drawGauges(view, pane, box) {
  const { context, theme } = view;
  const data = view.store.latest[pane.id] ?? { values: {}, judged: true };
  if (pane.title) head(view, pane, box);
  const first = box.y + (pane.title ? HEAD : 4), tall = (box.y + box.h - first) / pane.bars.length;
  const labelWidth = 52, valueWidth = 48;
  pane.bars.forEach((bar, index) => {
    const y = first + index * tall, thick = Math.min(14, tall - 22);
    const left = box.x + labelWidth, room = box.w - labelWidth - valueWidth;
    const known = data.values[bar.id] ?? null;
    const share = view.follow(`gauge ${pane.id} ${bar.id}`, (known ?? 0) / bar.top, 0.35);
    const over = known !== null && known >= bar.limit;
    view.text(bar.label, box.x, y + thick / 2, { size: 12, colour: theme.ink });
    context.fillStyle = theme.empty;
    context.fillRect(left, y, room, thick);
    context.globalAlpha = data.judged ? 1 : 0.4;
    context.fillStyle = view.colour(bar.colour);
    context.fillRect(left, y, room * Math.min(1, share), thick);
    context.globalAlpha = 1;
    const x = left + (room * bar.limit) / bar.top;
    stroke(context, [[x, y - 4], [x, y + thick + 4]], theme.ink, 2);
    view.text(bar.limit_label, x, y + thick + 12, { size: 11, colour: over ? theme.ink : theme.faint, weight: over ? 600 : 400, align: x > left + room * 0.7 ? "right" : "center" });
    const value = known === null ? "–" : `${format(known * bar.scale)}${bar.unit}`;
    view.text(value, box.x + box.w, y + thick / 2, { size: 13, weight: 600, align: "right" });
  });
}

function drawStates(view, pane, box) {
  const data = view.store.latest[pane.id] ?? { active: null, taken: {}, notes: {} };
  const radius = pane.radius;
  head(view, pane, box);
  const at = new Map(pane.nodes.map((node) => [node.id, {
    x: box.x + radius + 8 + node.x * (box.w - 2 * radius - 16),
    y: box.y + HEAD + radius + 4 + node.y * (box.h - HEAD - 2 * radius - 12),
  }]));
  for (const edge of pane.edges) {
    const flash = view.flash(`edge ${edge.from} ${edge.to}`, data.taken[`${edge.from}>${edge.to}`] ?? 0);
    drawEdge(view, pane, edge, at.get(edge.from), at.get(edge.to), flash);
  }
  for (const node of pane.nodes) drawNode(view, node, at.get(node.id), radius, data);
}

function drawEdge(view, pane, edge, from, to, flash) {
  const { context, theme } = view;
  const dx = to.x - from.x, dy = to.y - from.y, length = Math.hypot(dx, dy), ux = dx / length, uy = dy / length;
  const bend = edge.bend * 26, nx = -uy, ny = ux, rim = pane.radius + 8;
  const shift = edge.bend * 9;
  const start = [from.x + ux * rim + nx * shift, from.y + uy * rim + ny * shift];
  const end = [to.x - ux * rim + nx * shift, to.y - uy * rim + ny * shift];
  const middle = [(start[0] + end[0]) / 2 + nx * bend * 0.5, (start[1] + end[1]) / 2 + ny * bend * 0.5];
  const colour = flash > 0 ? view.colour(edge.to) : theme.faint;
  context.lineWidth = 1.4 + 3.2 * flash;
  context.strokeStyle = context.fillStyle = colour;
  context.lineCap = "round";
  context.beginPath();
  context.moveTo(...start);
  context.quadraticCurveTo(...middle, ...end);
  context.stroke();
  const angle = Math.atan2(end[1] - middle[1], end[0] - middle[0]), size = 8 + 4 * flash;
  context.beginPath();
  context.moveTo(end[0] + 3 * Math.cos(angle), end[1] + 3 * Math.sin(angle));
  for (const turn of [2.6, -2.6]) context.lineTo(end[0] + size * Math.cos(angle + turn), end[1] + size * Math.sin(angle + turn));
  context.fill();
  const label = { size: 11, colour: flash > 0 ? theme.ink : theme.faint, weight: flash > 0 ? 600 : 400, align: edge.align };
  edge.label.split("\n").forEach((line, index) => halo(view, line, middle[0] + edge.dx, middle[1] + edge.dy + index * 13, label));
}

function drawNode(view, node, { x, y }, radius, data) {
  const { context, theme } = view;
  const active = data.active === node.id, arrived = view.flash(`node ${node.id}`, data.visits?.[node.id] ?? 0);
  const fill = view.colour(node.id), note = data.notes[node.id] ?? "";
  if (arrived > 0) {
    context.globalAlpha = arrived * 0.5;
    circle(context, x, y, radius + 16 * (1 - arrived) + 3);
    context.fillStyle = fill;
    context.fill();
    context.globalAlpha = 1;
  }
  circle(context, x, y, radius);
  context.fillStyle = active ? fill : theme.empty;
  context.fill();
  context.lineWidth = 2;
  context.strokeStyle = active ? fill : theme.rule;
  context.stroke();
  if (active && data.of > 0) {
    const left = view.follow(`left ${node.id}`, data.left / data.of, 0.4);
    context.lineWidth = 5;
    context.lineCap = "round";
    context.strokeStyle = theme.ink;
    context.beginPath();
    context.arc(x, y, radius + 5, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * left);
    context.stroke();
  }
  const colour = active ? view.onColour(node.id) : theme.faint;
  view.text(node.label, x, y - (note ? 7 : 0), { size: 11.5, weight: 700, colour, align: "center" });
  if (note) view.text(note, x, y + 9, { size: 12, weight: active ? 600 : 400, colour, align: "center", room: radius * 1.8 });
}

// The values under the cursor, one per series.
function readings(view) {
  const found = [];
  for (const [pane, box] of view.boxes.panes) {
    if (!SERIES.has(pane.kind)) continue;
    const plot = plotBox(pane, box);
    const t = view.now - ((plot.right - view.cursor) / (plot.right - plot.left)) * pane.span;
    const rows = view.store.series.get(pane.id) ?? [];
    const row = pane.kind === "columns" ? rows.find((each) => each[0] >= t && t > each[0] - pane.step) : nearest(rows, t);
    if (!found.length) found.push({ label: "", value: `${format(Math.max(0, Math.round(view.now - t)))} s ago` });
    pane.series.forEach(({ label, colour }, index) => {
      const value = row?.[index + 1] ?? null;
      found.push({ label, colour, value: value === null ? "–" : `${format(value)} ${pane.unit}` });
    });
  }
  return found;
}

function drawCursor(view) {
  const { context, theme, cursor } = view;
  const panes = view.boxes.panes.filter(([pane]) => SERIES.has(pane.kind) || pane.kind === "lanes");
  const plots = panes.map(([pane, box]) => plotBox(pane, box)).filter(({ left, right }) => cursor >= left && cursor <= right);
  if (!plots.length) return;
  for (const { top, bottom } of plots) stroke(context, [[cursor, top], [cursor, bottom]], theme.ink, 1);
  const lines = readings(view), wide = 150, line = 16, tall = lines.length * line + 8;
  const x = cursor + wide + 12 < view.width ? cursor + 10 : cursor - wide - 10, y = plots[0].top;
  context.fillStyle = theme.paper;
  context.strokeStyle = theme.rule;
  context.lineWidth = 1;
  context.fillRect(x, y, wide, tall);
  context.strokeRect(x + 0.5, y + 0.5, wide, tall);
  lines.forEach(({ label, colour, value }, index) => {
    const middle = y + 4 + line * (index + 0.5);
    if (colour) fillCell(context, x + 8, middle - 5, 10, 10, [view.colour(colour)]);
    view.text(label, x + 24, middle, { size: 11, colour: theme.faint });
    view.text(value, x + wide - 8, middle, { size: 11, weight: 600, align: "right" });
  });
}

function element(tag, attributes, parent) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent.append(made);
  return made;
}

function stroke(context, points, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.lineJoin = "round";
  context.beginPath();
  points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}

function circle(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
}

function dot(context, [x, y], radius, colour) {
  circle(context, x, y, radius);
  context.fillStyle = colour;
  context.fill();
}

// One cell, in as many bands as it has colours.
function fillCell(context, x, y, wide, tall, colours) {
  colours.forEach((colour, index) => {
    context.fillStyle = colour;
    context.fillRect(x, y + (tall * index) / colours.length, wide, tall / colours.length);
  });
}

function mark(context, shape, x, y, colour) {
  const r = 3;
  if (shape === "cross") {
    stroke(context, [[x - r, y - r], [x + r, y + r]], colour, 1.5);
    stroke(context, [[x - r, y + r], [x + r, y - r]], colour, 1.5);
  } else if (shape === "dash") stroke(context, [[x - r, y], [x + r, y]], colour, 2);
}

// Text that stays readable on top of lines.
function halo(view, string, x, y, style) {
  const { context, theme } = view;
  context.font = `${style.weight ?? 400} ${style.size}px ${theme.font}`;
  context.textAlign = style.align ?? "left";
  context.textBaseline = "middle";
  context.lineWidth = 4;
  context.lineJoin = "round";
  context.strokeStyle = theme.paper;
  context.strokeText(string, x, y);
  view.text(string, x, y, style);
}

function fits(view, string, room) {
  view.context.font = `600 11px ${view.theme.font}`;
  return view.context.measureText(string).width <= room;
}

function nearest(rows, t) {
  return rows.reduce((best, row) => (!best || Math.abs(row[0] - t) < Math.abs(best[0] - t) ? row : best), undefined);
}

function sum(values) {
  return values.reduce((total, value) => total + (value ?? 0), 0);
}

// The smallest round number (1, 1.2, 1.6, 2 … times a power of ten) that is not below the value.
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

function format(value) {
  const digits = Math.abs(value) >= 10 || Number.isInteger(value) ? 0 : Math.abs(value) >= 1 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}
