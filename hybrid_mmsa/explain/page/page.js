// The list: what is chosen, in which order, and which fifty of it are drawn.

const PER_PAGE = 50;
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const posts = data.posts;
const searched = posts.map((post) =>
  [post.id || "", ...(post.text || []).map((piece) => piece[0]), "\n", post.group || "", "\n", post.target || ""].join("").toLowerCase());
let chosen = [];
let page = 0;
let current = -1;

const SORTS = {
  "most likely wrong": (post) => -post.queue,
  "newest": (post) => (post.when === undefined ? Infinity : -post.when),
  "oldest": (post) => (post.when === undefined ? Infinity : post.when),
  "least confident": (post) => post.confidence,
  "most confident": (post) => -post.confidence,
  "strongest conflict": (post) => (post.conflict === undefined ? Infinity : -post.conflict),
  "most sarcastic": (post) => (post.sarcasm === undefined ? Infinity : -post.sarcasm),
  "order of the file": (post) => post.line,
};
const FILTERS = {
  label: (post) => [post.label],
  route: (post) => [post.decision === "defer" ? "deferred" : "kept", `answered by ${post.answered_by}`],
  reason: (post) => post.reasons || [],
  group: (post) => (post.group === undefined ? [] : [post.group]),
};

function fillControls() {
  byId("sort").append(...Object.keys(SORTS).map((name) => el("option", { value: name }, name)));
  for (const [name, values] of Object.entries(FILTERS)) {
    const found = [...new Set(posts.flatMap(values))].sort((a, b) => a.localeCompare(b));
    // Options are known by place, since a group may be named anything.
    byId(name).append(el("option", { value: "" }, "any"), ...found.map((value) => {
      const option = el("option", { value: "chosen", dir: "auto" }, value.replaceAll("_", " "));
      option.wanted = value;
      return option;
    }));
    byId(name).closest("label").hidden = found.length === 0;
  }
  for (const flag of [...new Set(posts.flatMap((post) => post.flags || []))].sort()) {
    const title = flag === "differs" ? "unlike its label" : flag;
    byId("flags").append(el("label", { class: "check" }, el("input", { type: "checkbox", value: flag }), ` ${title}`));
  }
  byId("flags").hidden = !byId("flags").querySelector("input");
  byId("heat-all").hidden = !posts.some((post) => post.evidence && (post.evidence.heat || post.evidence.regions));
  byId("legend").hidden = !posts.some((post) => (post.evidence && post.evidence.heat) || (post.text || []).some((piece) => piece[1]));
  byId("choose").hidden = false;
  byId("choose").open = window.matchMedia("(min-width: 641px)").matches;
}

function choose() {
  const query = byId("search").value.trim().toLowerCase();
  const wanted = Object.keys(FILTERS).map((name) => [FILTERS[name], byId(name).selectedOptions[0].wanted]);
  const flags = [...byId("flags").querySelectorAll("input:checked")].map((box) => box.value);
  const key = SORTS[byId("sort").value];
  chosen = posts.map((post, i) => i).filter((i) => {
    const post = posts[i];
    return (!query || searched[i].includes(query))
      && wanted.every(([values, value]) => value === undefined || values(post).includes(value))
      && flags.every((flag) => (post.flags || []).includes(flag));
  });
  const keys = posts.map(key);
  chosen.sort((a, b) => (keys[a] === keys[b] ? a - b : keys[a] - keys[b]));
  show(0);
}

function show(number) {
  const pages = Math.max(1, Math.ceil(chosen.length / PER_PAGE));
  page = Math.min(Math.max(number, 0), pages - 1);
  current = -1;
  const first = page * PER_PAGE;
  const shown = chosen.slice(first, first + PER_PAGE);
  byId("list").replaceChildren(...shown.map((i) => drawPost(posts[i], i)));
  setAllHeat(byId("heat-all").getAttribute("aria-pressed") === "true");
  byId("count").textContent = chosen.length
    ? `${(first + 1).toLocaleString("en")}–${(first + shown.length).toLocaleString("en")} of ${chosen.length.toLocaleString("en")} posts`
    : "No post is like that.";
  byId("pages").hidden = pages === 1;
  byId("page").textContent = `page ${page + 1} of ${pages}`;
  byId("previous").disabled = page === 0;
  byId("next").disabled = page === pages - 1;
}

function turn(step) {
  const before = page;
  show(page + step);
  if (page !== before) byId("posts").scrollIntoView();
}

// Moving past the last post of a page goes on at the next page.
function move(step) {
  const articles = byId("list").children;
  const target = current + step;
  if (target >= 0 && target < articles.length) return focusPost(target);
  const before = page;
  if (current >= 0) show(page + step);
  if (page !== before) focusPost(step > 0 ? 0 : byId("list").children.length - 1);
  else if (articles.length) focusPost(Math.min(Math.max(target, 0), articles.length - 1));
}

function focusPost(place) {
  current = place;
  const article = byId("list").children[place];
  article.focus({ preventScroll: true });
  article.scrollIntoView({ block: "start" });
}

function setAllHeat(on) {
  byId("heat-all").setAttribute("aria-pressed", String(on));
  for (const article of byId("list").children) setHeat(article, on);
}

function exportCsv() {
  const lines = [data.csv, ...chosen.map((i) => posts[i].csv)];
  // The mark at the start tells spreadsheets that this is UTF-8.
  save(["\ufeff", lines.join("\r\n"), "\r\n"], "text/csv;charset=utf-8", "posts.csv");
}

function save(parts, type, name) {
  const link = el("a", { href: URL.createObjectURL(new Blob(parts, { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// The labels that were chosen on the page, by place in `posts`; `exported` are those that a file holds.
const labels = new Map();
let exported = 0;

function setLabel(i, label) {
  if (label) labels.set(i, label);
  else labels.delete(i);
  exported = 0;
  byId("export-labels").disabled = labels.size === 0;
  byId("export-labels").textContent = `Export labels (${labels.size})`;
}

function exportLabels() {
  const lines = [...labels.keys()].sort((a, b) => a - b).map((i) => JSON.stringify({ ...posts[i].row, label: labels.get(i) }));
  save([lines.join("\n"), "\n"], "application/x-ndjson", "labelled.jsonl");
  exported = labels.size;
}

const KEYS = {
  "/": () => {
    byId("choose").open = true;
    byId("search").focus();
  },
  "j": () => move(1),
  "k": () => move(-1),
  "ArrowRight": () => turn(1),
  "ArrowLeft": () => turn(-1),
  "h": () => {
    const article = byId("list").children[Math.max(current, 0)];
    const button = article && article.querySelector("button.heat");
    if (button) setHeat(article, button.getAttribute("aria-pressed") === "false");
  },
  "?": () => byId("help").showModal(),
};

function onKey(event) {
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape" && typing) event.target.blur();
  const free = !typing && !byId("help").open && !event.ctrlKey && !event.metaKey && !event.altKey;
  const on = byId("keys").checked || event.key.length > 1;
  if (free && on && Object.hasOwn(KEYS, event.key)) {
    event.preventDefault();
    KEYS[event.key]();
  }
}

fillControls();
choose();
let pause;
byId("search").addEventListener("input", () => {
  clearTimeout(pause);
  pause = setTimeout(choose, 120);
});
byId("controls").addEventListener("change", (event) => event.target.id === "search" || choose());
byId("list").addEventListener("change", (event) => setLabel(Number(event.target.dataset.post), event.target.value));
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("controls").addEventListener("reset", () => setTimeout(choose));
byId("heat-all").addEventListener("click", () => setAllHeat(byId("heat-all").getAttribute("aria-pressed") === "false"));
byId("export").addEventListener("click", exportCsv);
byId("export-labels").addEventListener("click", exportLabels);
window.addEventListener("beforeunload", (event) => labels.size > exported && event.preventDefault());
byId("open-help").addEventListener("click", () => byId("help").showModal());
byId("previous").addEventListener("click", () => turn(-1));
byId("next").addEventListener("click", () => turn(1));
byId("list").addEventListener("focusin", (event) => {
  current = [...byId("list").children].indexOf(event.target.closest("article"));
});
document.addEventListener("keydown", onKey);
