"""A watch counts each post once, alarms of changes, and seldom of none; and it goes on where it ended."""

import http.server
import json
import os
import sqlite3
import threading
from itertools import islice

import numpy as np
import pytest

from hybrid_mmsa import InputError
from hybrid_mmsa.cli import run
from hybrid_mmsa.watch import Alert, Observation, Store, Watch, WatchSettings
from hybrid_mmsa.watch.alerts import Webhook
from hybrid_mmsa.watch.changes import Series, rank, residuals
from hybrid_mmsa.watch.drift import WIDTH, separability, sketch
from hybrid_mmsa.watch.page import watch_page
from hybrid_mmsa.watch.sources import piped, polled, tailed

HOUR = 3600
BEGIN = 1_772_323_200  # a whole hour


def shares(chance, hours, level, *, size=40, swing=0.05, overdispersion=0.02):
    """Windows whose shares swing over the day and vary more than coins do."""
    for hour in range(hours):
        n = max(int(chance.poisson(size)), 1)
        p = level(hour) + swing * np.cos(2 * np.pi * hour / 24)
        concentration = 1 / overdispersion - 1
        yield BEGIN + HOUR * hour, chance.binomial(n, chance.beta(p * concentration, (1 - p) * concentration)) / n, n


def alarms(windows, stake):
    series = Series(learn=48)
    found = []
    for start, value, size in windows:
        if change := series.add(start, value, size, stake):
            found.append((start, change))
    return found


def test_false_alarms_stay_below_the_stakes():
    """Stakes of 1/100 a window: at most 3.5 false alarms are expected in 352 windows that are bet on."""
    chance = np.random.default_rng(3)
    found = [len(alarms(shares(chance, 400, lambda _: 0.3), 0.01)) for _ in range(6)]
    assert sum(found) < 6 * 352 * 0.01


def test_a_shift_is_found_soon_and_dated():
    chance = np.random.default_rng(4)
    found = alarms(shares(chance, 300, lambda hour: 0.2 if hour < 200 else 0.4), 1e-5)
    assert len(found) == 1
    (start, change), moved = found[0], BEGIN + 200 * HOUR
    assert moved <= start <= moved + 20 * HOUR
    assert abs(change.since - moved) <= 3 * HOUR
    assert change.before == pytest.approx(0.2, abs=0.04)
    assert change.now == pytest.approx(0.4, abs=0.1)


def test_a_fall_is_found_as_well_unless_only_rises_count():
    values = [0.5 + 0.01 * (n % 7) for n in range(80)] + [0.2] * 20
    for rises_only in (False, True):
        series = Series(learn=48, rises_only=rises_only)
        changes = [series.add(BEGIN + HOUR * n, v, 100, 1e-3) for n, v in enumerate(values)]
        assert any(changes) is not rises_only


def test_a_share_that_never_varies_raises_nothing():
    """Equal windows win and lose nothing, whatever rounding makes of them."""
    for level in (0.0, 1.0, 0.25):
        windows = ((BEGIN + HOUR * n, level, 10 + n % 9) for n in range(300))
        assert alarms(windows, 1e-4) == []


def test_ranks_are_uniform_and_the_course_of_the_day_is_taken_out():
    scores = np.array([3.0, 1.0, 2.0, 2.0])
    assert rank(scores) == (0.25, 0.75)
    hours = BEGIN + HOUR * np.arange(240.0)
    course = 0.3 + 0.1 * np.cos(2 * np.pi * np.arange(240) / 24)
    noisy = course + np.random.default_rng(0).normal(0, 0.01, 240)
    left = residuals(hours, noisy, np.full(240, 1000.0))
    assert abs(np.corrcoef(left, course)[0, 1]) < 0.15


# The watch as a whole.


def watch(store=None, told=None, now=None, **settings):
    told = [] if told is None else told
    return Watch(store or Store(), WatchSettings(**{"learn": 24, **settings}), told.append, now)


def post(hour, n=0, label="neutral", **values):
    return Observation(**{"time": BEGIN + HOUR * hour + n, "label": label, **values})


def feed(watching, hours, share, first=0, group="a", size=30):
    """Posts of some hours, `share` of them negative, each with an id."""
    chance = np.random.default_rng(first)
    for hour in range(first, first + hours):
        for n in range(size):
            label = "negative" if chance.random() < share else "positive"
            watching.observe(post(hour, 60 * n, label, group=group, id=f"{hour}/{n}"))


def test_a_change_is_told_once_with_its_group():
    told = []
    watching = watch(told=told, false_alarms=0.05)
    feed(watching, 60, 0.2)
    assert told == []
    feed(watching, 20, 0.8, first=60)
    watching.finish()
    assert {(alert.group, alert.measure) for alert in told} == {("a", "negative"), ("*", "negative")}
    assert all(alert.now > alert.before for alert in told)
    assert told[0].false_alarms_per_week == 0.05
    assert "share of negative posts" in told[0].text
    assert watching.store.alerts()[-1] == told[0]


def test_each_post_is_counted_once_and_in_its_window():
    watching = watch(lateness=600)
    watching.observe(post(0, 100, "negative", id="x"))
    watching.observe(post(0, 50, id="y"))  # out of order, in time
    watching.observe(post(0, 50, id="x"))  # again
    watching.observe(post(1, 500, id="z"))  # the first window is still waited for
    watching.observe(post(0, 200, id="w"))
    watching.observe(post(1, 700, id="v"))  # now it is over
    watching.observe(post(0, 300, id="u"))
    watching.observe(Observation(time=None, label="neutral"))
    watching.finish()
    assert watching.store.tallies() == {
        "posts": 5,
        "out of order": 2,
        "duplicate": 1,
        "late": 1,
        "without time": 1,
    }
    counts = {start: counts for _, start, counts in watching.store.windows("*")}
    assert [(c.posts, c.negative) for c in counts.values()] == [(3, 1), (2, 0)]


def test_a_post_from_the_future_closes_no_window():
    watching = watch(now=lambda: BEGIN + 60.0)
    watching.observe(post(0, 10, id="a"))
    watching.observe(post(9000, id="b"))
    watching.observe(post(0, 20, id="c"))
    watching.commit()
    assert watching.store.tallies() == {"posts": 2, "from the future": 1}


def test_many_groups_are_counted_together():
    watching = watch(most_groups=2)
    for n, group in enumerate("abcdc"):
        watching.observe(post(0, n, group=group))
    watching.finish()
    assert {group: c.posts for group, _, c in watching.store.windows()} == {"*": 5, "a": 1, "b": 1, "(others)": 3}


def test_a_watch_that_is_killed_goes_on_as_if_nothing_had_been(tmp_path):
    def course(cuts):
        told, path = [], tmp_path / f"{len(cuts)}.db"
        pieces = [(0, 50, 0.2), (50, 30, 0.7)]
        rows = []
        for first, hours, share in pieces:
            chance = np.random.default_rng(first)
            rows += [
                post(h, 60 * n, "negative" if chance.random() < share else "neutral", group="a", id=f"{h}/{n}")
                for h in range(first, first + hours)
                for n in range(20)
            ]
        for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            with Store(path) as store:
                watching = watch(store, told)
                for n, row in enumerate(rows[max(start - 37, 0) : end]):  # some of them come again
                    watching.observe(row)
                    if n % 10 == 0:
                        watching.commit()
                watching.commit() if end < len(rows) else watching.finish()
        with Store(path) as store:
            return told, [(g, s, c.posts, c.negative) for g, s, c in store.windows()]

    whole, cut = course([]), course([511, 1203])
    assert whole[1] == cut[1]
    assert [a.model_dump() for a in whole[0]] == [a.model_dump() for a in cut[0]] != []


def test_the_state_of_another_watch_is_refused(tmp_path):
    with Store(tmp_path / "w.db") as store:
        watch(store)
        store.commit()
        with pytest.raises(InputError, match="--state"):
            Store(tmp_path / "w.db")
    with Store(tmp_path / "w.db") as store, pytest.raises(InputError, match="window 3600, this is 60"):
        watch(store, window=60)
    (tmp_path / "text").write_text("no database, but long enough to be looked at")
    with pytest.raises(InputError, match="cannot be opened"):
        Store(tmp_path / "text")


def test_inputs_that_change_are_told():
    told, chance = [], np.random.default_rng(5)
    watching = watch(told=told, false_alarms=2, sample=60)
    for hour in range(90):
        shift = 1.0 if hour >= 75 else 0.0
        for n in range(40):
            vector = chance.normal(size=6).astype(np.float32)
            vector[0] += shift
            watching.observe(post(hour, n, vector=lambda vector=vector: vector))
    watching.finish()
    inputs = [alert for alert in told if alert.measure == "inputs"]
    assert len(inputs) == 1
    assert inputs[0].now > 0.6
    assert "route check" in inputs[0].advice


def test_separability_is_a_half_for_like_posts_and_near_one_for_others():
    chance = np.random.default_rng(1)
    like = separability(chance.normal(size=(400, 5)), chance.normal(size=(400, 5)))
    other = separability(chance.normal(size=(400, 5)), chance.normal(size=(400, 5)) + 3)
    assert like == pytest.approx(0.5, abs=0.1)
    assert other > 0.99


def test_a_sketch_keeps_what_is_near_and_says_which_side_is_missing(analyzer):
    texts = ["The train was late again", "The bus was late again", "Lovely cake 😍"]
    from hybrid_mmsa.inputs import read_sample
    from hybrid_mmsa.types import Sample

    vectors = sketch(analyzer.encoder.encode([read_sample(Sample(text=text)) for text in texts]))
    assert vectors.shape == (3, WIDTH)
    assert np.linalg.norm(vectors[0] - vectors[1]) < np.linalg.norm(vectors[0] - vectors[2])
    assert vectors[0, -2:].tolist() == [1, 0]


def test_settings_are_checked():
    for wrong in ({"window": 0}, {"false_alarms": 0.0}, {"learn": 3}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            WatchSettings(**wrong)


# Where lines come from, and where alerts go.


def test_pipes_give_whole_lines():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe, os.fdopen(writing, "wb") as end:
        lines = piped(pipe, idle=0.01)
        end.write(b"one\n\ntw")
        end.flush()
        assert next(lines) == b"one"
        assert next(lines) is None  # nothing more for the moment
        end.write(b"o\nthree")
        end.flush()
        end.close()
        assert [line for line in lines if line] == [b"two", b"three"]


def test_a_file_is_followed_when_it_grows_and_when_it_is_replaced(tmp_path):
    file, quiet = tmp_path / "posts.jsonl", []
    lines = tailed(file, idle=0, ends=lambda: len(quiet) > 3)

    def taken():
        found = []
        for line in lines:
            if line is None:
                break
            found.append(line)
        return found

    assert taken() == []
    file.write_bytes(b"one\ntwo\npart")
    assert taken() == [b"one", b"two"]
    with file.open("ab") as more:
        more.write(b"ly\n")
    assert taken() == [b"partly"]
    file.replace(tmp_path / "old")
    file.write_bytes(b"new\n")
    assert taken() == [b"new"]
    with pytest.raises(InputError, match="folder"):
        next(tailed(tmp_path))


@pytest.fixture
def server():
    """A server on this machine that hands out posts and takes alerts."""
    taken = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/posts" else 500)
            self.end_headers()
            self.wfile.write(b'{"id": 1}\n{"id": 2}' if self.path == "/posts" else b"")

        def do_POST(self):
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204 if self.path == "/hook" else 500)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", taken
        httpd.shutdown()


def test_an_address_is_asked_again_and_again(server):
    said = []
    lines = polled(f"{server[0]}/posts", 0.01, say=said.append)
    assert list(islice(lines, 6)) == [b'{"id": 1}', b'{"id": 2}', None] * 2
    broken = polled(f"{server[0]}/broken", 0.01, say=said.append)
    assert list(islice(broken, 2)) == [None, None]
    assert "did not answer" in said[0]
    with pytest.raises(InputError, match="--poll"):
        next(polled("ftp://example.org", say=print))


def test_a_webhook_takes_alerts_or_it_is_said(server, alert):
    assert Webhook(f"{server[0]}/hook")(alert) is None
    assert server[1][0]["text"] == "a: share of negative posts 20% -> 40% since 2026-03-01T00:00:00Z (9 posts)"
    assert "did not take" in Webhook(f"{server[0]}/broken", attempts=2)(alert)
    assert len(server[1]) == 3
    with pytest.raises(InputError, match="--webhook"):
        Webhook("file:///etc/passwd")


def test_the_page_shows_groups_and_alerts_and_runs_nothing():
    watching = watch(false_alarms=1)
    feed(watching, 40, 0.2, group="<b>&")
    feed(watching, 20, 0.9, first=40, group="<b>&")
    watching.finish()
    page = watch_page(watching.store)
    assert "&lt;b&gt;&amp;" in page
    assert "<script" not in page
    assert "<b>&" not in page
    assert page.count('class="alert"') == 2
    assert watch_page(Store()).count("None.") == 1


# The commands.


def rows(hours, share, first=0):
    chance = np.random.default_rng(first)
    for hour in range(first, first + hours):
        for n in range(15):
            text = "I hate it" if chance.random() < share else "I love it"
            yield {"id": f"{hour}/{n}", "text": text, "time": BEGIN + HOUR * hour + n, "group": "shop"}


@pytest.fixture
def stream(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row) for row in [*rows(35, 0.1), *rows(10, 0.95, first=35)]]
    (tmp_path / "posts.jsonl").write_text("\n".join([*lines, "no JSON", '{"id": "p", "image": "secret.jpg"}']))
    return tmp_path


OPTIONS = ["--learn", "24", "--false-alarms", "1", "--explain", "none", "--mode", "fast", "--alerts", "alerts.jsonl"]


def test_replay_shows_what_a_watch_would_have_raised(stream, capsys):
    assert run(["watch", "replay", "posts.jsonl", "--page", "page.html", *OPTIONS]) == 1
    out, error = capsys.readouterr()
    alerts = [Alert.model_validate_json(line) for line in out.splitlines()]
    assert {alert.group for alert in alerts if alert.measure == "negative"} == {"*", "shop"}
    assert (stream / "alerts.jsonl").read_text() == out
    assert "675 posts" in error
    assert "shop" in (stream / "page.html").read_text()


def test_a_pipe_is_watched_and_the_state_kept(stream, capsys, monkeypatch):
    with (stream / "posts.jsonl").open(encoding="utf-8") as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        assert run(["watch", "--state", "watch.db", *OPTIONS]) == 1
    out, error = capsys.readouterr()
    assert '"group":"shop"' in out
    assert "found no JSON object" in error
    assert "wanted the picture's bytes" in error
    base = sqlite3.connect(stream / "watch.db")
    assert base.execute("SELECT sum(posts) FROM windows WHERE grp = 'shop'").fetchone() == (675,)
    base.close()
    assert run(["watch", "--tail", "x", "--poll", "http://127.0.0.1:1"]) == 2
    assert run(["watch", "--map", "time"]) == 2
    assert "wanted NAME=VALUE" in capsys.readouterr().err
