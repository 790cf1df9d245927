"use strict";
// One post as elements. Whatever a post holds becomes text nodes and never HTML.

const LONG = 600;
const SIDES = { text: "words", image: "picture" };
const LABEL_NAMES = ["negative", "neutral", "positive"];

function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const isolated = (text, attributes = {}) => el("bdi", { dir: "auto", ...attributes }, text);
const percent = (share) => `${Math.round(100 * share)} %`;
const signed = (effect) => (effect < 0 ? "−" : "+") + Math.abs(effect).toFixed(2);

function drawPost(post, number) {
  const title = `post-${number}`;
  return el("article", { class: `post ${post.label}`, tabindex: "-1", "aria-labelledby": title },
    head(post, title),
    post.picture ? picture(post) : null,
    el("div", { class: "body" },
      post.text ? words(post) : el("p", { class: "soft" }, "No words."),
      post.picture_left_out ? el("p", { class: "soft" }, "The picture is left out to keep the page small.") : null,
      bars(post),
      facts(post),
      post.evidence ? evidence(post) : null,
      post.verdict ? verdict(post) : null,
      post.rationale ? rationale(post) : null,
      ...(post.warnings || []).map((warning) => el("p", { class: "warning" }, isolated(warning))),
      labelling(post, number)));
}

function head(post, id) {
  const about = [`line ${post.line}`];
  if (post.time) about.push(post.time);
  const line = el("p", { class: "soft facts" }, isolated(about.join(" · ")));
  if (post.group) line.append(" · ", isolated(post.group, { class: "group" }));
  if (post.target) line.append(" · about ", isolated(post.target));
  return el("header", {},
    el("h3", { id }, el("span", { class: "chip label" }, post.label), " ", percent(post.confidence), " ",
      post.id ? el("span", { class: "id" }, "id ", isolated(post.id)) : ""),
    line, badges(post));
}

function badges(post) {
  const row = el("p", { class: "badges" });
  for (const [kind, text] of post.chips || []) row.append(el("span", { class: `chip ${kind}` }, text), " ");
  return row;
}

function facts(post) {
  const said = [];
  if (post.p_error !== undefined) said.push(`P(error) ${percent(post.p_error)}`);
  if (post.set) said.push(`set: ${post.set.join(", ") || "empty"}`);
  if (post.emotion) said.push(`emotion of the words: ${post.emotion}`);
  if (post.answered_by !== "fast") said.push(`answered by ${post.answered_by}`);
  return el("p", { class: "soft" }, isolated(said.join(" · ")));
}

function labelling(post, number) {
  const choice = el("select", { "data-post": String(number), "aria-label": "Your label" },
    el("option", { value: "" }, "as it is"), ...LABEL_NAMES.map((name) => el("option", { value: name }, name)));
  choice.value = labels.get(number) || "";
  return el("p", { class: "yours" }, el("label", {}, "Your label ", choice));
}

function words(post) {
  const whole = post.text.reduce((length, piece) => length + [...piece[0]].length, 0);
  const box = el("p", { class: "words", dir: "auto" }, ...shaded(post.text, LONG));
  if (whole <= LONG) return box;
  const more = el("button", { type: "button", class: "more", "aria-expanded": "false" });
  const show = (all) => {
    box.replaceChildren(...shaded(post.text, all ? Infinity : LONG), all ? "" : " …");
    more.textContent = all ? "Show less" : `Show all ${whole.toLocaleString("en")} characters`;
    more.setAttribute("aria-expanded", String(all));
  };
  more.addEventListener("click", () => show(more.getAttribute("aria-expanded") === "false"));
  show(false);
  return el("div", {}, box, more);
}

// Pieces of a text as nodes, up to so many characters; a pair of surrogates stays whole.
function shaded(pieces, most) {
  const nodes = [];
  let left = most;
  for (const [text, level, effect] of pieces) {
    if (left <= 0) break;
    let part = text.length > left ? text.slice(0, left) : text;
    if (part.length < text.length && /[\uD800-\uDBFF]$/.test(part)) part = part.slice(0, -1);
    left -= text.length;
    nodes.push(level ? el("span", { class: `w ${level > 0 ? "f" : "a"}${Math.abs(level)}`, title: signed(effect) }, part)
      : document.createTextNode(part));
  }
  return nodes;
}

function picture(post) {
  const evidence = post.evidence || {};
  const frame = el("div", { class: "frame" }, el("img", { src: post.picture, alt: "Picture of the post", decoding: "async" }));
  if (evidence.heat) frame.append(heatMap(evidence.heat));
  (evidence.regions || []).forEach(([left, top, right, bottom, effect], i) => {
    const box = el("div", { class: `region ${effect < 0 ? "against" : "for"}`, "aria-hidden": "true" }, el("b", {}, String(i + 1)));
    Object.assign(box.style, { left: `${100 * left}%`, top: `${100 * top}%`,
      width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
    frame.append(box);
  });
  const side = el("figure", { class: "picture" }, frame);
  if (evidence.heat || evidence.regions) side.append(heatButton());
  if (evidence.regions) {
    const list = evidence.regions.map(([, , , , effect, where]) => el("li", {}, `${where} ${signed(effect)}`));
    side.append(el("figcaption", { class: "soft" }, "Regions:", el("ol", {}, ...list)));
  }
  return side;
}

function heatButton() {
  const button = el("button", { type: "button", class: "heat", "aria-pressed": "false" }, "Heat-map");
  button.addEventListener("click", () => setHeat(button.closest("article"), button.getAttribute("aria-pressed") === "false"));
  return button;
}

function setHeat(article, on) {
  const button = article.querySelector("button.heat");
  if (!button) return;
  button.setAttribute("aria-pressed", String(on));
  article.querySelector(".frame").classList.toggle("hot", on);
}

function heatMap(rows) {
  const canvas = el("canvas", { width: rows[0].length, height: rows.length, "aria-hidden": "true" });
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(rows[0].length, rows.length);
  rows.flat().forEach((value, i) => {
    const [r, g, b] = value < 0 ? [230, 97, 0] : [26, 96, 220];
    image.data.set([r, g, b, Math.round(190 * Math.abs(value))], 4 * i);
  });
  pen.putImageData(image, 0, 0);
  return canvas;
}

function bars(post) {
  const heading = el("tr", {}, el("th", { scope: "col" }, "says"), ...LABEL_NAMES.map((l) => el("th", { scope: "col" }, l)));
  const rows = post.bars.map(({ who, label, p }) => el("tr", {}, el("th", { scope: "row" }, who),
    ...p.map((share, k) => {
      const bar = el("span", { class: `bar ${LABEL_NAMES[k]}` });
      bar.style.width = `${100 * share}%`;
      return el("td", { class: LABEL_NAMES[k] === label ? "best" : null }, percent(share), el("span", { class: "rail" }, bar));
    })));
  return el("table", { class: "bars" }, el("caption", { class: "hidden" }, "Probabilities"),
    el("thead", {}, heading), el("tbody", {}, ...rows));
}

function evidence(post) {
  const found = post.evidence;
  const shares = Object.entries(found.shares).map(([side, share]) => `${SIDES[side]} ${signed(share)}`);
  const start = `P(${found.label}) starts at ${found.baseline.toFixed(2)}; ${shares.join(", ")}.`;
  return el("div", { class: "evidence" }, el("p", {}, isolated(found.text)), shares.length ? el("p", { class: "soft" }, start) : null);
}

function verdict(post) {
  const found = post.verdict;
  const said = [`${found.reasoner} says ${found.label}`];
  if (found.text_says) said.push(`the words ${found.text_says}`);
  if (found.picture_says) said.push(`the picture ${found.picture_says}`);
  if (found.sarcasm !== undefined) said.push(`sarcasm ${percent(found.sarcasm)}`);
  const about = [found.adapter ? `adapter ${found.adapter}` : null, found.prompt ? `prompt ${found.prompt}` : null];
  const note = about.filter(Boolean).join(", ");
  return el("p", { class: "verdict" }, isolated(`${said.join("; ")}.`), note ? el("span", { class: "soft" }, ` (${note})`) : null);
}

function rationale(post) {
  const found = post.verdict || {};
  const box = el("figure", { class: "rationale" },
    el("figcaption", {}, el("strong", {}, "Written by a model"), found.reasoner ? " · " : "", found.reasoner ? isolated(found.reasoner) : ""),
    el("blockquote", { dir: "auto" }, post.rationale));
  if (found.cues) {
    box.append(el("p", { class: "soft" }, "It points at:"), el("ul", {}, ...found.cues.map(([side, text]) =>
      el("li", {}, side === "text" ? "quoted from the words: " : "seen in the picture: ", isolated(text)))));
  }
  return box;
}
