(() => {
// The player, and what moves with it: the line on the curve, the segment and the word that are being said.
const byId = (id) => document.getElementById(id);
const player = byId("player"), chart = byId("chart"), now = byId("now");
const segments = [...document.querySelectorAll(".segment")];
const duration = Number(chart.dataset.duration), left = Number(chart.dataset.left), width = Number(chart.dataset.width);
const starts = segments.map((segment) => Number(segment.dataset.start));
const ends = segments.map((segment) => Number(segment.dataset.end));
let marked = [];

function seek(time, play) {
  player.currentTime = Math.max(0, Math.min(time, duration));
  show();
  if (play) player.play().catch(() => {});
}

function mark(elements) {
  for (const [element, name] of marked) element.classList.remove(name);
  marked = elements;
  for (const [element, name] of marked) element.classList.add(name);
}

function show() {
  const time = player.currentTime;
  now.style.left = `${100 * (left + width * Math.min(time / duration, 1))}%`;
  const current = segments.filter((_, i) => starts[i] <= time && time < ends[i]);
  const words = current.map((segment) => wordAt(segment, time)).filter(Boolean);
  mark([...current.map((segment) => [segment, "current"]), ...words.map((word) => [word, "spoken"])]);
}

const wordsOf = (segment) => [...segment.querySelectorAll(".said [data-time]")];
const wordAt = (segment, time) => wordsOf(segment).filter((word) => Number(word.dataset.time) <= time).at(-1);

document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-time]");
  if (target) seek(Number(target.dataset.time), true);
});
byId("chart").querySelector(".plot").addEventListener("click", (event) => {
  const box = event.currentTarget.getBoundingClientRect();
  seek(duration * ((event.clientX - box.left) / box.width - left) / width, false);
});
byId("segments").addEventListener("keydown", (event) => {
  const place = segments.indexOf(event.target.closest(".segment"));
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (step && segments[place + step]) {
    event.preventDefault();
    segments[place + step].querySelector("button").focus();
  }
  const turn = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (turn && place >= 0) {
    event.preventDefault();
    const words = wordsOf(segments[place]), inside = starts[place] <= player.currentTime && player.currentTime < ends[place];
    const at = inside ? words.indexOf(wordAt(segments[place], player.currentTime)) + turn : 0;
    const word = words[Math.max(0, Math.min(at, words.length - 1))];
    seek(word ? Number(word.dataset.time) + 0.001 : starts[place], false);
  }
});
player.addEventListener("timeupdate", show);
player.addEventListener("seeked", show);
player.addEventListener("error", () => { byId("trouble").hidden = false; });
if (player.error) byId("trouble").hidden = false;
show();
})();
