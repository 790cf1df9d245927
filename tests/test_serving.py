"""The server's contract: routes, answers, problems, jobs, doors, logs and counts, on a small analyzer."""

import base64
import io
import json
import logging
import threading

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from tiny_server import BAD, GOOD, HeldEncoder, SlowEncoder, client_of, tiny_analyzer, until

from hybrid_mmsa import Analysis, InputError, MissingExtraError, ReasonerError
from hybrid_mmsa.serving import CODES, BatchAnswer, Job, Keys, ServerSettings, create_app, new_key
from hybrid_mmsa.serving.rates import Rates
from hybrid_mmsa.types import SCHEMA_VERSION

KEY, LINE = new_key("shop")


def picture(colour="gold", size=(20, 10)):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def problem(response, status, code):
    """The body of a refusal, checked."""
    body = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert response.headers["content-type"] == "application/problem+json"
    assert body["status"] == status
    assert body["type"] == f"urn:hybrid-mmsa:problem:{code}"
    assert body["request_id"] == response.headers["x-request-id"]
    return body


@pytest.fixture(scope="module")
def client():
    with client_of(tiny_analyzer()) as client:
        yield client


@pytest.fixture(scope="module")
def reasoned():
    """A server with a reasoner that says neutral, and fails where the post says so."""
    script = lambda sample: ReasonerError("its server is gone") if "fail" in sample.text else "neutral"  # noqa: E731
    with client_of(tiny_analyzer(script)) as client:
        yield client


@pytest.mark.parametrize("text", [GOOD, BAD])
def test_the_answer_is_the_analyzers(client, text):
    response = client.post("/v1/analyze", json={"text": text, "id": "7"})
    assert response.status_code == 200
    answer = Analysis.model_validate_json(response.content)
    assert answer == tiny_analyzer().analyze_batch([{"text": text, "id": "7"}])[0]


def test_a_picture_comes_in_base64_as_a_uri_or_as_a_file(client):
    encoded = base64.b64encode(picture()).decode()
    expected = tiny_analyzer().analyze(GOOD, picture())
    for response in (
        client.post("/v1/analyze", json={"text": GOOD, "image": encoded}),
        client.post("/v1/analyze", json={"text": GOOD, "image": f"data:image/png;base64,{encoded}"}),
        client.post("/v1/analyze", data={"text": GOOD}, files={"image": ("a.png", picture())}),
    ):
        assert Analysis.model_validate_json(response.content) == expected


def test_options_reach_the_analyzer(client):
    answer = client.post("/v1/analyze", json={"text": GOOD, "explain": "full", "mode": "fast"}).json()
    assert [effect["word"] for effect in answer["explanation"]["words"]]
    assert client.post("/v1/analyze", data={"text": GOOD, "explain": "none"}).status_code == 415
    form = client.post("/v1/analyze", data={"text": GOOD, "explain": "none"}, files={"image": ("a", picture())})
    assert form.json()["explanation"] is None


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"text": 5}, "invalid_request", "text"),
        ({"text": GOOD, "mode": "slow"}, "invalid_request", "mode"),
        ({"text": GOOD, "colour": "red"}, "invalid_request", "colour"),
        ({"text": GOOD, "id": "x" * 201}, "invalid_request", "id"),
        ([], "invalid_request", ""),
        ({}, "unusable_post", None),
        ({"text": " \u200b"}, "unusable_post", None),
        ({"text": GOOD, "adapter": "other"}, "unusable_post", "adapter"),
        ({"image": "AAAA"}, "unusable_post", "image"),
        ({"image": "not base64!"}, "unusable_post", "image"),
        ({"image": "/etc/passwd"}, "unusable_post", "image"),
        ({"image": "https://example.org/a.png"}, "picture_url_refused", "image"),
        ({"image": "file:///etc/passwd"}, "picture_url_refused", "image"),
        ({"text": GOOD, "mode": "deep"}, "no_reasoner", "mode"),
    ],
)
def test_what_cannot_be_used_is_a_problem_with_its_code(client, body, code, field):
    found = problem(client.post("/v1/analyze", json=body), CODES[code][0], code)
    assert field in (found.get("field"), *(fault["field"] for fault in found["errors"]))


def test_a_body_that_cannot_be_read_is_a_problem(client):
    json_type = {"content-type": "application/json"}
    problem(client.post("/v1/analyze", content=b"{", headers=json_type), 400, "malformed_body")
    problem(client.post("/v1/analyze", content=b"[" * 100_000, headers=json_type), 400, "malformed_body")
    problem(client.post("/v1/analyze", content=b'{"text": "\\ud800"}', headers=json_type), 400, "malformed_body")
    problem(client.post("/v1/analyze", content=b"hello"), 415, "unsupported_media_type")
    packed = {**json_type, "content-encoding": "gzip"}
    problem(client.post("/v1/analyze", content=b"{}", headers=packed), 415, "unsupported_media_type")
    form = {"content-type": "multipart/form-data; boundary=x"}
    problem(client.post("/v1/analyze", content=b"--x\r\nrubbish", headers=form), 422, "unusable_post")
    problem(
        client.post("/v1/analyze", content=b"", headers={"content-type": "multipart/form-data"}), 400, "malformed_body"
    )
    two = [("image", ("a", picture())), ("image", ("b", picture()))]
    problem(client.post("/v1/analyze", files=two), 400, "malformed_body")
    problem(client.post("/v1/analyze", files={"photo": ("a", picture())}), 422, "invalid_request")
    problem(client.post("/v1/analyze?timeout=0", json={"text": GOOD}), 422, "invalid_request")
    problem(client.get("/v1/analyze"), 405, "method_not_allowed")
    problem(client.get("/nothing"), 404, "not_found")


def test_each_row_of_a_batch_is_answered_or_fails_for_itself(client):
    rows = [{"text": GOOD, "id": "a"}, {"image": "AAAA"}, {"text": 5}, "words", {"image": ""}, {"text": BAD, "id": "b"}]
    response = client.post("/v1/analyze/batch", json={"posts": rows})
    results = BatchAnswer.model_validate_json(response.content).results
    codes = [row.error and row.error.code for row in results]
    assert codes == [None, "unusable_post", "invalid_request", "invalid_request", "unusable_post", None]
    first, last = results[0].analysis, results[-1].analysis
    assert (first.id, first.sentiment.label, last.id, last.sentiment.label) == ("a", "positive", "b", "negative")
    problem(client.post("/v1/analyze/batch", json={"posts": []}), 422, "invalid_request")
    problem(client.post("/v1/analyze/batch", json={"posts": [{"text": GOOD}] * 65}), 413, "batch_too_large")


def test_the_server_says_what_it_is(client):
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
    assert client.get("/version").json()["schema_version"] == SCHEMA_VERSION
    models = client.get("/v1/models").json()
    assert models["reasoner"] is None
    (model,) = models["models"]
    assert (model["name"], model["default"]) == ("tiny", True)


def test_a_deferred_post_is_answered_by_the_reasoner(reasoned):
    answer = reasoned.post("/v1/analyze", json={"text": GOOD, "mode": "deep"}).json()
    assert (answer["sentiment"]["label"], answer["fast"]["label"]) == ("neutral", "positive")
    assert answer["route"]["answered_by"] == "scripted"
    assert reasoned.post("/v1/analyze", json={"text": GOOD, "mode": "fast"}).json()["verdict"] is None


def test_without_waiting_a_deferred_post_becomes_a_job(reasoned):
    response = reasoned.post("/v1/analyze?wait=false", json={"text": GOOD, "mode": "deep"})
    assert response.status_code == 202
    assert response.json()["sentiment"]["label"] == "positive"
    place = response.headers["location"]
    stream = reasoned.get(f"{place}/events")
    assert stream.headers["content-type"].startswith("text/event-stream")
    event, content = stream.text.strip().split("\n")
    job = Job.model_validate_json(content.removeprefix("data: "))
    assert (event, job.status, job.analysis.sentiment.label) == ("event: done", "done", "neutral")
    assert Job.model_validate(reasoned.get(place).json()) == job
    assert reasoned.post("/v1/analyze?wait=false", json={"text": GOOD, "mode": "fast"}).status_code == 200
    problem(reasoned.get("/v1/jobs/guess"), 404, "not_found")
    problem(reasoned.get("/v1/jobs/guess/events"), 404, "not_found")
    rows = reasoned.post("/v1/analyze/batch?wait=false", json={"posts": [{"text": GOOD}], "mode": "deep"}).json()
    assert reasoned.get(f"/v1/jobs/{rows['results'][0]['job']}").json()["status"] in ("waiting", "done")


def test_a_reasoner_that_fails_is_a_problem_where_it_was_asked_for_and_a_warning_elsewhere():
    analyzer = tiny_analyzer(lambda sample: ReasonerError("its server is gone"), policy="always")
    with client_of(analyzer) as client:
        found = problem(client.post("/v1/analyze", json={"text": GOOD, "mode": "deep"}), 424, "reasoner_failed")
        assert "its server is gone" in found["detail"]
        answer = client.post("/v1/analyze", json={"text": GOOD}).json()
        assert answer["sentiment"]["label"] == "positive"
        assert any("its server is gone" in warning for warning in answer["warnings"])
        place = client.post("/v1/analyze?wait=false", json={"text": GOOD, "mode": "deep"}).headers["location"]
        until(lambda: client.get(place).json()["status"] == "failed")
        assert client.get(place).json()["error"]["code"] == "reasoner_failed"
        assert value(client, "hybrid_mmsa_reasoner_failures_total") == 3


def value(client, name, **labels):
    """A metric's value."""
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return None


class Gate:
    """A reasoner's script that waits until it is let through."""

    def __init__(self):
        self.open, self.asked = threading.Event(), threading.Event()

    def __call__(self, sample):
        self.asked.set()
        assert self.open.wait(20)
        return "neutral"


def test_a_full_reasoner_queue_leaves_the_fast_answer_or_refuses_who_asked_for_it():
    gate = Gate()
    with client_of(tiny_analyzer(gate, policy="always"), {"deferred_posts": 1}) as client:
        first = client.post("/v1/analyze?wait=false", json={"text": GOOD})
        assert first.status_code == 202
        full = client.post("/v1/analyze?wait=false", json={"text": BAD})
        assert full.status_code == 200
        assert full.json()["needs_review"]
        assert "the reasoner was not asked" in full.json()["warnings"][-1]
        refused = client.post("/v1/analyze", json={"text": BAD, "mode": "deep"})
        problem(refused, 503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        gate.open.set()
        until(lambda: client.get(first.headers["location"]).json()["status"] == "done")
        assert client.post("/v1/analyze", json={"text": BAD, "mode": "deep"}).status_code == 200


def test_a_reasoner_that_is_slow_is_a_problem_in_time():
    gate = Gate()
    with client_of(tiny_analyzer(gate, policy="always")) as client:
        problem(client.post("/v1/analyze?timeout=0.2", json={"text": GOOD, "mode": "deep"}), 504, "deadline_exceeded")
        late = client.post("/v1/analyze?timeout=3", json={"text": GOOD})
        assert "it did not answer in time" in late.json()["warnings"][-1]
        gate.open.set()


def test_a_job_is_cancelled_and_its_place_is_free():
    gate = Gate()
    with client_of(tiny_analyzer(gate, policy="always"), {"deferred_posts": 1}) as client:
        place = client.post("/v1/analyze?wait=false", json={"text": GOOD}).headers["location"]
        assert gate.asked.wait(10)
        assert client.delete(place).json()["status"] == "cancelled"
        assert client.get(f"{place}/events").text.startswith("event: cancelled")
        assert client.post("/v1/analyze?wait=false", json={"text": GOOD}).status_code == 202
        gate.open.set()


def test_jobs_are_forgotten():
    with client_of(tiny_analyzer(lambda _: "neutral", policy="always"), {"job_seconds": 0.05, "jobs": 2}) as client:
        place = client.post("/v1/analyze?wait=false", json={"text": GOOD}).headers["location"]
        until(lambda: client.get(place).status_code == 404)
    with client_of(tiny_analyzer(lambda _: "neutral", policy="always"), {"jobs": 2}) as client:
        places = []
        for _ in range(4):
            places.append(client.post("/v1/analyze?wait=false", json={"text": GOOD}).headers["location"])
            until(lambda: client.get(places[-1]).json()["status"] == "done")
        assert [client.get(place).status_code for place in places] == [404, 404, 200, 200]


def test_a_stopping_server_finishes_what_it_took():
    gate = Gate()
    with client_of(tiny_analyzer(gate, policy="always")) as client:
        place = client.post("/v1/analyze?wait=false", json={"text": GOOD}).headers["location"]
        client.app.state.answering.closing = True
        problem(client.post("/v1/analyze", json={"text": GOOD}), 503, "closing")
        problem(client.get("/readyz"), 503, "closing")
        assert client.get("/healthz").status_code == 200
        gate.open.set()
        until(lambda: client.get(place).json()["status"] == "done")


ROUTES = [
    ("POST", "/v1/analyze"),
    ("POST", "/v1/analyze/batch"),
    ("GET", "/v1/models"),
    ("GET", "/v1/jobs/x"),
    ("DELETE", "/v1/jobs/x"),
    ("GET", "/v1/jobs/x/events"),
    ("GET", "/version"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/"),
    ("GET", "/page.js"),
    ("GET", "/nothing"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_but_health_needs_a_key(method, path):
    with client_of(tiny_analyzer(), keys=Keys.read(LINE, "keys"), hosts=None) as client:
        for headers in ({}, {"authorization": "Bearer " + KEY[:-1]}, {"authorization": "Basic !"}, {"x-api-key": ""}):
            refused = client.request(method, path, headers=headers)
            problem(refused, 401, "unauthenticated")
            assert refused.headers["www-authenticate"].startswith("Basic")
        basic = base64.b64encode(f"me:{KEY}".encode()).decode()
        for shown in ({"authorization": f"Bearer {KEY}"}, {"authorization": f"Basic {basic}"}, {"x-api-key": KEY}):
            assert client.request(method, path, headers=shown).status_code != 401
        assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200


def test_the_routes_that_were_tried_are_all_there_are(client):
    document = client.get("/openapi.json").json()
    known = {path for _, path in ROUTES} | {"/healthz", "/readyz"}
    assert {path.replace("{job}", "x") for path in document["paths"]} <= known


def test_a_job_belongs_to_the_key_that_began_it():
    other, line = new_key("other")
    keys = Keys.read(f"{LINE}\n{line}", "keys")
    with client_of(tiny_analyzer(lambda _: "neutral", policy="always"), keys=keys, hosts=None) as client:
        mine, theirs = ({"authorization": f"Bearer {key}"} for key in (KEY, other))
        place = client.post("/v1/analyze?wait=false", json={"text": GOOD}, headers=mine).headers["location"]
        for method, path in (("GET", place), ("GET", f"{place}/events"), ("DELETE", place)):
            problem(client.request(method, path, headers=theirs), 404, "not_found")
        assert client.get(place, headers=mine).status_code == 200


def test_without_keys_only_this_machine_may_be_named_and_no_other_page_may_ask():
    with client_of(tiny_analyzer(), hosts=None) as client:
        for host in ("localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1"):
            assert client.get("/version", headers={"host": host}).status_code == 200
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""):
            problem(client.get("/version", headers={"host": host}), 421, "wrong_host")
        own = {"host": "localhost"}
        for site in ("cross-site", "same-site"):
            headers = {**own, "sec-fetch-site": site}
            problem(client.post("/v1/analyze", json={"text": GOOD}, headers=headers), 403, "cross_site")
        headers = {**own, "sec-fetch-site": "same-origin"}
        assert client.post("/v1/analyze", json={"text": GOOD}, headers=headers).status_code == 200


def test_other_origins_are_let_in_by_name():
    asks = {"origin": "https://a.example", "access-control-request-method": "POST"}
    with client_of(tiny_analyzer()) as client:
        assert (
            "access-control-allow-origin" not in client.post("/v1/analyze", json={"text": GOOD}, headers=asks).headers
        )
    with client_of(tiny_analyzer(), origins=["https://a.example"]) as client:
        assert client.options("/v1/analyze", headers=asks).headers["access-control-allow-origin"] == asks["origin"]
        sent = {"origin": "https://a.example", "sec-fetch-site": "cross-site"}
        response = client.post("/v1/analyze", json={"text": GOOD}, headers=sent)
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == asks["origin"]
        other = {**asks, "origin": "https://b.example"}
        assert "access-control-allow-origin" not in client.options("/v1/analyze", headers=other).headers


def test_keys_are_read_strictly_and_kept_hashed():
    assert KEY not in LINE
    assert Keys.read(f"# ours\n{LINE} # the shop's\n\n", "keys").owner(KEY) == "shop"
    assert Keys.read(LINE, "keys").owner("") is None
    for lines in ("", "shop", f"{LINE}\n{LINE}", f"shop:{KEY}", "a b:" + "0" * 64):
        with pytest.raises(InputError, match=r"^keys: ") as caught:
            Keys.read(lines, "keys")
        assert KEY not in str(caught.value)
    with pytest.raises(InputError):
        new_key("a:b")


def test_a_sender_may_send_so_many_posts():
    with client_of(tiny_analyzer(), {"posts_per_second": 0.01, "posts_at_once": 5}) as client:
        assert client.post("/v1/analyze/batch", json={"posts": [{"text": GOOD}] * 4}).status_code == 200
        assert client.post("/v1/analyze", json={"text": GOOD}).status_code == 200
        refused = client.post("/v1/analyze", json={"text": GOOD})
        problem(refused, 429, "rate_limited")
        assert 1 <= int(refused.headers["retry-after"]) <= 100
        assert client.get("/healthz").status_code == client.get("/version").status_code == 200


def test_senders_have_buckets_of_their_own():
    rates = Rates(1, 2)
    rates.take("a", 2)
    rates.take("b", 9)  # more than a bucket holds: once, when it is full
    for sender in "ab":
        with pytest.raises(Exception, match="at most 1 posts a second"):
            rates.take(sender, 1)


def test_a_body_has_a_size(client):
    values = b'{"posts": [' + b"{}," * 500_001 + b"{}]}"
    many = client.post("/v1/analyze/batch", content=values, headers={"content-type": "application/json"})
    assert "commas" in problem(many, 413, "body_too_large")["detail"]
    with client_of(tiny_analyzer(), {"body_bytes": 1000}) as small:
        long = {"text": "x" * 1000}
        problem(small.post("/v1/analyze", json=long), 413, "body_too_large")
        problem(small.post("/v1/analyze/", json={"text": GOOD}), 404, "not_found")
        pieces = (b" " * 100 for _ in range(100))
        chunked = small.post("/v1/analyze", content=pieces, headers={"content-type": "application/json"})
        problem(chunked, 413, "body_too_large")
        assert small.post("/v1/analyze", json={"text": GOOD}).status_code == 200
    with client_of(tiny_analyzer(), {"all_bodies_bytes": 1000}) as small:
        problem(small.post("/v1/analyze", json=long), 503, "overloaded")
        assert small.post("/v1/analyze", json={"text": GOOD}).status_code == 200


def test_posts_are_judged_together_and_their_answers_are_the_same():
    encoder = HeldEncoder()
    with client_of(tiny_analyzer(encoder=encoder), {"workers": 1, "batch_posts": 8}) as client:
        threads = [
            threading.Thread(target=client.post, args=("/v1/analyze",), kwargs={"json": {"text": text}})
            for text in ["slow", *[GOOD] * 6]
        ]
        threads[0].start()
        until(lambda: encoder.batches)
        for thread in threads[1:]:
            thread.start()
        until(lambda: value(client, "hybrid_mmsa_queue_posts", queue="fast") == 7)
        encoder.release.set()
        for thread in threads:
            thread.join()
        assert sum(encoder.batches) == 7
        assert max(encoder.batches) > 1
        assert value(client, "hybrid_mmsa_batch_posts_sum", queue="fast") == 7


def test_a_full_queue_refuses_and_says_when_to_come_again():
    encoder = HeldEncoder()
    with client_of(tiny_analyzer(encoder=encoder), {"workers": 1, "waiting_posts": 2}) as client:
        first = threading.Thread(target=client.post, args=("/v1/analyze",), kwargs={"json": {"text": "slow"}})
        first.start()
        until(lambda: encoder.batches)
        refused = client.post("/v1/analyze/batch", json={"posts": [{"text": GOOD}] * 2})
        problem(refused, 503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        late = client.post("/v1/analyze?timeout=0.05", json={"text": GOOD})
        problem(late, 504, "deadline_exceeded")
        assert first.is_alive(), "the deadline held although every worker was busy"
        encoder.release.set()
        first.join()
        assert client.post("/v1/analyze", json={"text": GOOD}).status_code == 200
        assert value(client, "hybrid_mmsa_problems_total", code="overloaded") == 1


def test_counts_tell_what_happened():
    with client_of(tiny_analyzer(lambda _: "neutral", policy="always")) as client:
        client.post("/v1/analyze/batch", json={"posts": [{"text": GOOD}] * 60 + [{"text": 5}]})
        client.post(
            "/v1/analyze/batch", json={"posts": [{"text": BAD, "image": base64.b64encode(picture()).decode()}] * 60}
        )
        client.get("/v1/jobs/secret-identifier")
        text = client.get("/metrics").text
        assert "secret-identifier" not in text
        assert value(client, "hybrid_mmsa_posts_total", decision="defer") == 120
        assert value(client, "hybrid_mmsa_requests_total", route="/v1/analyze/batch", status="200") == 2
        assert value(client, "hybrid_mmsa_problems_total", code="invalid_request") == 1
        assert value(client, "hybrid_mmsa_batch_posts_sum", queue="reasoner") == 120
        assert value(client, "hybrid_mmsa_queue_posts", queue="fast") == 0
        assert value(client, "hybrid_mmsa_stage_seconds_count", stage="encode") == 120
        assert 0 <= value(client, "hybrid_mmsa_drift", score="P(error)") <= 1


def test_logs_hold_requests_and_no_posts(client, caplog):
    secret = "a secret nobody else shall read"
    with caplog.at_level(logging.INFO, "hybrid_mmsa.serving"):
        client.post(f"/v1/analyze?wait={secret}", json={"text": secret})
        client.post("/v1/analyze", json={"text": secret, "adapter": secret}, headers={"x-request-id": "mine-1"})
        client.post("/v1/analyze", json={"text": secret}, headers={"x-request-id": f"{secret}\n"})
    records = [record.fields for record in caplog.records]
    assert [record["status"] for record in records] == [422, 422, 200]
    assert records[1]["request_id"] == "mine-1"
    assert records[2]["route"] == "/v1/analyze"
    assert secret not in json.dumps(records) + caplog.text


def test_a_mistake_of_ours_is_a_problem_and_its_message_stays_inside(caplog):
    class Broken:
        def __getattr__(self, name):
            raise RuntimeError("a secret")

    with client_of(tiny_analyzer()) as client:
        client.app.state.rates = Broken()
        with caplog.at_level(logging.INFO, "hybrid_mmsa.serving"):
            response = client.post("/v1/analyze/batch", json={"posts": [{"text": GOOD}]})
        problem(response, 500, "internal_error")
        assert "secret" not in response.text
        from hybrid_mmsa.serving.journal import JsonLines

        lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
        failure = next(line for line in lines if line["event"] == "failure")
        assert (failure["level"], failure["error"]) == ("error", "RuntimeError")
        assert "secret" not in json.dumps(lines)


def test_an_encoder_that_fails_fails_its_post_alone():
    class Fragile(SlowEncoder):
        def encode(self, samples):
            if any("break" in (sample.text or "") for sample in samples):
                raise RuntimeError("out of order")
            return super().encode(samples)

    with client_of(tiny_analyzer(encoder=Fragile(0))) as client:
        rows = client.post("/v1/analyze/batch", json={"posts": [{"text": GOOD}, {"text": "break"}]}).json()["results"]
        assert rows[0]["analysis"]["sentiment"]["label"] == "positive"
        assert rows[1]["error"]["code"] == "encoder_failed"


def test_browsers_are_told_to_load_nothing_else(client):
    for path in ("/", "/page.css", "/page.js", "/icon.svg", "/version", "/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"


def test_settings_are_checked():
    for name, value in (("workers", 0), ("workers", 1.5), ("body_seconds", -1), ("jobs", True), ("jobs", None)):
        with pytest.raises(InputError, match=name):
            ServerSettings(**{name: value})


def test_without_its_extra_the_server_names_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fastapi", None)
    for name in [name for name in sys.modules if name.startswith("hybrid_mmsa.serving.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match="extra 'serve'"):
        create_app(tiny_analyzer())


def test_the_default_model_answers_as_in_process(analyzer):
    image = np.full((40, 60, 3), 200, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    text = "I love this, best day ever"
    with client_of(analyzer) as client:
        for content in (None, base64.b64encode(buffer.getvalue()).decode()):
            response = client.post("/v1/analyze", json={"text": text, "image": content})
            expected = analyzer.analyze(text, None if content is None else buffer.getvalue())
            assert Analysis.model_validate_json(response.content) == expected
