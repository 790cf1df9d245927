// The page to try the server: a post goes to /v1/analyze, and what comes back is drawn. It keeps nothing and loads nothing
// from elsewhere. What others wrote (posts, rationales, warnings) is put in as text, never as HTML.

const LABELS = ["negative", "neutral", "positive"];
const EXAMPLES = ["Best day of the year, thank you all!", "The meeting starts at nine.", "Great, another two hours of delay 🙄"];
const byId = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(100 * share)} %`;

let picture = null; // the chosen File
let asked = null; // what the answer on the page was asked with
let answer = null;
let job = null; // { place, events }, while the reasoner is being asked
let round = 0; // which request is the newest

function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function say(text) {
  byId("status").textContent = text;
}

function complain(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = !text;
}

// ---- the post ----

function choose(file) {
  picture = file && file.type.startsWith("image/") ? file : null;
  byId("image").value = "";
  byId("file-name").textContent = picture ? `Picture: ${picture.name || "pasted"}` : "Choose a picture";
  byId("remove").hidden = !picture;
  if (file && !picture) complain("That file is not a picture.");
}

function readPost(mode) {
  const post = { explain: byId("full").checked ? "full" : "modality", mode };
  for (const name of ["text", "target", "adapter"]) {
    const value = byId(name).value;
    if (value.trim()) post[name] = value;
  }
  return { post, picture };
}

function request({ post, picture }) {
  if (!picture) return { body: JSON.stringify(post), headers: { "Content-Type": "application/json" } };
  const form = new FormData();
  for (const [name, value] of Object.entries(post)) form.append(name, value);
  form.append("image", picture, picture.name || "picture");
  return { body: form };
}

async function analyse(mode) {
  const mine = ++round;
  forgetJob(true);
  complain("");
  const sent = readPost(mode);
  if (!sent.post.text && !sent.picture) {
    complain("Write some words or choose a picture.");
    byId("text").focus();
    return;
  }
  say("Analysing …");
  byId("answer").setAttribute("aria-busy", "true");
  try {
    const response = await fetch("v1/analyze?wait=false", { method: "POST", ...request(sent) });
    const body = await response.json();
    if (mine !== round) return;
    if (!response.ok) throw new Error(problemText(body, response));
    asked = sent;
    draw(body);
    if (!matchMedia("(min-width: 860px)").matches) byId("answer").scrollIntoView();
    if (response.status === 202) follow(response.headers.get("Location"));
  } catch (error) {
    if (mine !== round) return;
    say("");
    complain(error instanceof TypeError ? "The server cannot be reached." : error.message);
  } finally {
    if (mine === round) byId("answer").removeAttribute("aria-busy");
  }
}

function problemText(problem, response) {
  const wait = response.headers.get("Retry-After");
  return `${problem.title}: ${problem.detail}.` + (wait ? ` Try again in ${wait} s.` : "");
}

function follow(place) {
  const mine = round;
  const events = new EventSource(place + "/events");
  job = { place, events };
  say(`${spoken(answer)} The reasoner is being asked …`);
  const ended = (event) => {
    forgetJob(false);
    if (mine !== round) return;
    const state = JSON.parse(event.data);
    if (state.analysis) draw(state.analysis);
    else {
      say(`${spoken(answer)} The fast answer stands.`);
      complain(state.error ? `${state.error.title}: ${state.error.detail}.` : "The reasoner was not asked to the end.");
    }
  };
  for (const kind of ["done", "failed", "cancelled"]) events.addEventListener(kind, ended);
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED && job && job.events === events) {
      forgetJob(false);
      say(`${spoken(answer)} The reasoner's answer was lost.`);
    }
  };
}

function forgetJob(cancel) {
  if (!job) return;
  job.events.close();
  if (cancel) fetch(job.place, { method: "DELETE" }).catch(() => {});
  job = null;
}

// ---- the answer ----

const spoken = (analysis) => `${analysis.sentiment.label}, ${percent(analysis.sentiment.confidence)} sure.`;

function draw(analysis) {
  answer = analysis;
  const { sentiment, route } = analysis;
  const label = byId("label");
  label.textContent = sentiment.label;
  label.className = sentiment.label;
  byId("confidence").textContent = percent(sentiment.confidence);
  byId("who").textContent = route.answered_by === "fast" ? "by the fast tier" : `by ${route.answered_by}`;
  byId("bars").replaceChildren(...LABELS.map((name) => bar(name, sentiment.probabilities[name])));
  byId("why").textContent = analysis.explanation ? analysis.explanation.text : "";
  byId("rationale").hidden = !analysis.rationale;
  byId("rationale").textContent = analysis.rationale ? `Written by the model: ${analysis.rationale}` : "";
  drawWords(analysis.explanation);
  drawPicture(analysis.explanation);
  drawSides(analysis);
  byId("route").textContent = routeText(analysis);
  byId("warnings").replaceChildren(...analysis.warnings.map((warning) => el("li", {}, warning)));
  byId("json").textContent = JSON.stringify(analysis, null, 2);
  byId("result").hidden = false;
  say(spoken(analysis));
}

function bar(name, share) {
  const fill = el("div", { class: "fill" });
  fill.style.setProperty("--share", `${100 * share}%`);
  return el("div", { class: `bar ${name}` }, el("span", {}, name), el("div", { class: "track", "aria-hidden": "true" }, fill),
    el("span", {}, percent(share)));
}

function drawWords(explanation) {
  const words = (explanation && explanation.words) || [];
  byId("words-part").hidden = !words.length;
  const most = Math.max(...words.map((word) => Math.abs(word.effect)), 0.02);
  byId("words").replaceChildren(...words.flatMap((word) => {
    const share = Math.abs(word.effect) / most;
    if (share < 0.08) return [word.word, " "];
    const mark = el("mark", { class: word.effect > 0 ? "for" : "against", title: `${word.effect > 0 ? "+" : ""}${word.effect.toFixed(2)}` }, word.word);
    mark.style.setProperty("--strength", `${Math.round(60 * share)}%`);
    return [mark, " "];
  }));
  const strong = (sign) => words.filter((word) => sign * word.effect / most > 0.3).map((word) => word.word).join(", ");
  const said = [["for", strong(1)], ["against", strong(-1)]].filter(([, list]) => list);
  byId("words-said").textContent = said.map(([side, list]) => `Words that speak ${side} the label: ${list}.`).join(" ");
}

function drawPicture(explanation) {
  const file = asked.picture;
  byId("shown").hidden = !file;
  if (!file) return;
  const image = byId("preview");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  const heat = explanation && explanation.heat_map;
  byId("heat-on").parentElement.hidden = !heat;
  byId("heat").hidden = !heat || !byId("heat-on").checked;
  if (heat) drawHeat(heat);
}

function drawHeat(rows) {
  const canvas = byId("heat");
  [canvas.width, canvas.height] = [rows[0].length, rows.length];
  const context = canvas.getContext("2d");
  const most = Math.max(...rows.flat().map(Math.abs), 1e-6);
  rows.forEach((row, y) => row.forEach((value, x) => {
    context.fillStyle = `rgba(${value > 0 ? "26, 96, 220" : "230, 97, 0"}, ${Math.abs(value) / most})`;
    context.fillRect(x, y, 1, 1);
  }));
}

function drawSides(analysis) {
  const sides = [["Words", analysis.text_sentiment], ["Picture", analysis.image_sentiment], ["Fast tier, both", analysis.fast]];
  if (analysis.verdict) sides.push([`Reasoner (${analysis.verdict.reasoner})`, { ...analysis.verdict, confidence: analysis.verdict.probabilities[analysis.verdict.label] }]);
  byId("sides").tBodies[0].replaceChildren(...sides.filter(([, side]) => side).map(([name, side]) =>
    el("tr", {}, el("th", { scope: "row" }, name), el("td", { class: side.label }, side.label), el("td", {}, percent(side.confidence)))));
  const facts = [];
  if (analysis.conflict !== null) facts.push(`The two sides differ by ${percent(analysis.conflict)}.`);
  if (analysis.sarcasm !== null) facts.push(`Sarcastic: ${percent(analysis.sarcasm)}.`);
  if (analysis.emotion) facts.push(`Emotion, if the words express one: ${analysis.emotion.label}, ${percent(analysis.emotion.confidence)}.`);
  byId("facts").textContent = facts.join(" ");
}

function routeText({ route, needs_review }) {
  const error = route.p_error === null ? "" : ` The label is wrong with probability ${percent(route.p_error)}, as the router estimates.`;
  if (route.decision === "keep") return `The fast answer was kept.${error}`;
  const reasons = route.reasons.map((reason) => reason.replace("_", " ")).join(", ");
  const uses = { pooled: "Its verdict was pooled with the fast answer.", alone: "Its verdict counts alone.", ignored: "Its verdict is attached and does not count." };
  const use = route.verdict ? ` ${uses[route.verdict]}` : "";
  return `Deferred: ${reasons}.${use}${needs_review ? " A person should look again." : ""}${error}`;
}

// ---- copies ----

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function asCurl({ post, picture }) {
  const address = new URL("v1/analyze", location.href).href;
  const head = `curl ${quoted(address)} -H "Authorization: Bearer $KEY"`;
  if (!picture) return `${head} -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(post))}`;
  const fields = Object.entries(post).map(([name, value]) => `--form-string ${quoted(`${name}=${value}`)}`);
  return [head, ...fields, `-F ${quoted(`image=@${picture.name || "picture.png"}`)}`].join(" ");
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied as ${what}.`);
  } catch {
    byId("json").textContent = text;
    byId("json").closest("details").open = true;
    byId("json").focus();
    getSelection().selectAllChildren(byId("json"));
    say("This browser does not let the page copy; the text is selected.");
  }
}

// ---- wiring ----

byId("post").addEventListener("submit", (event) => {
  event.preventDefault();
  analyse("auto");
});
byId("deep").addEventListener("click", () => analyse("deep"));
byId("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) analyse("auto");
});
byId("image").addEventListener("change", (event) => choose(event.target.files[0]));
byId("remove").addEventListener("click", () => {
  choose(null);
  byId("image").focus();
});
byId("heat-on").addEventListener("change", (event) => { byId("heat").hidden = !event.target.checked; });
byId("copy-json").addEventListener("click", () => copy(JSON.stringify(answer, null, 2), "JSON"));
byId("copy-curl").addEventListener("click", () => copy(asCurl(asked), "curl"));
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
  if (file) {
    event.preventDefault();
    choose(file);
  }
});
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return; // words are dropped as ever
  event.preventDefault();
  byId("drop").classList.add("over");
});
document.addEventListener("dragleave", () => byId("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  byId("drop").classList.remove("over");
  choose(event.dataTransfer.files[0]);
});
for (const text of EXAMPLES) {
  const button = el("button", { type: "button" }, text);
  button.addEventListener("click", () => {
    byId("text").value = text;
    analyse("auto");
  });
  document.querySelector(".examples").append(button);
}

const reply = await fetch("v1/models");
const models = reply.ok ? await reply.json() : { models: [], reasoner: null };
if (!reply.ok) complain(problemText(await reply.json(), reply));
for (const model of models.models) {
  const option = el("option", { value: model.default ? "" : model.name }, model.name);
  byId("adapter").append(option);
}
byId("deep").hidden = !models.reasoner;
byId("server").textContent = models.reasoner ? `Reasoner: ${models.reasoner}.` : "No reasoner is set up: unsure posts are marked for a person.";
