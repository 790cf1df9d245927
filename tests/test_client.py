"""The client gives the answers and the errors of the analyzer behind the server; `aanalyze` gives them in process."""

import asyncio
import io
import pickle

import numpy as np
import pytest
from PIL import Image
from tiny_server import BAD, GOOD, served, tiny_analyzer

from hybrid_mmsa import InputError, MissingExtraError, ReasonerError, RowError, Sample, ServerError
from hybrid_mmsa.client import AsyncClient, Client
from hybrid_mmsa.serving import Keys, new_key

KEY, LINE = new_key("shop")
PICTURE = np.full((20, 30, 3), (250, 200, 10), np.uint8)


def script(sample):
    return ReasonerError("its server is gone") if "fail" in (sample.text or "") else "neutral"


@pytest.fixture(scope="module")
def address():
    with served(tiny_analyzer(script), keys=Keys.read(LINE, "keys")) as (host, port):
        yield f"http://{host}:{port}"


@pytest.fixture(scope="module")
def client(address):
    with Client(address, key=KEY) as client:
        yield client


def test_answers_are_those_of_the_analyzer(client, tmp_path):
    expected = tiny_analyzer().analyze(GOOD, PICTURE)
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    in_memory = (PICTURE, Image.fromarray(PICTURE), content, io.BytesIO(content))
    for image in (*in_memory, tmp_path / "a.png", str(tmp_path / "a.png")):
        assert client.analyze(GOOD, image) == expected
    assert client.analyze(BAD, explain="none") == tiny_analyzer().analyze(BAD, explain="none")
    assert client.models().reasoner == "scripted"


def test_errors_are_those_of_the_analyzer_where_it_has_them(client, address):
    with pytest.raises(InputError, match="neither text nor image"):
        client.analyze()
    with pytest.raises(InputError) as caught:
        client.analyze(GOOD, b"rubbish")
    assert caught.value.field == "image"
    for image in ("https://example.org/a.png", "no such file", 5):
        with pytest.raises(InputError) as caught:
            client.analyze(GOOD, image)
        assert caught.value.field == "image"
    with Client(address, key="wrong") as other, pytest.raises(ServerError) as caught:
        other.analyze(GOOD)
    assert (caught.value.code, caught.value.status) == ("unauthenticated", 401)
    with pytest.raises(ServerError) as caught:
        client.analyze("fail", mode="deep")
    assert caught.value.code == "reasoner_failed"
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.code, copy.status, str(copy)) == ("reasoner_failed", 424, str(caught.value))
    with Client("http://127.0.0.1:9", timeout=2) as nobody, pytest.raises(ServerError) as caught:
        nobody.models()
    assert (caught.value.code, caught.value.status) == ("unreachable", 0)


def test_a_batch_has_its_failures_in_their_places(client):
    rows = client.analyze_batch([GOOD, {"text": BAD, "id": 7}, Sample(image=b"rubbish", id="x")])
    assert [row.sentiment.label for row in rows[:2]] == ["positive", "negative"]
    assert rows[1].id == "7"
    assert isinstance(rows[2], RowError)
    assert (rows[2].line, rows[2].id, rows[2].field) == (3, "x", "image")


def test_a_deferred_post_is_a_job(client):
    job = client.submit(GOOD, mode="deep")
    assert (job.status, job.analysis.sentiment.label) == ("waiting", "positive")
    answer = client.result(job)
    assert (answer.sentiment.label, answer.route.answered_by) == ("neutral", "scripted")
    assert client.job(job).status == client.cancel(job).status == "done"
    kept = client.submit(GOOD, mode="fast")
    assert client.result(kept) == client.cancel(kept).analysis == kept.analysis
    with pytest.raises(ServerError, match="its server is gone"):
        client.result(client.submit("fail", mode="deep"))
    with pytest.raises(ServerError) as caught:
        client.result(job.model_copy(update={"id": "guess"}))
    assert caught.value.code == "not_found"


def test_the_asynchronous_client_gives_the_same(address):
    async def ask():
        async with AsyncClient(address, key=KEY) as client:
            answers = await asyncio.gather(*(client.analyze(text) for text in (GOOD, BAD)))
            (row,) = await client.analyze_batch([GOOD])
            job = await client.submit(GOOD, mode="deep")
            reasoned = await client.result(job)
            ended = [await client.job(job), await client.cancel(job)]
            models = await client.models()
            with pytest.raises(InputError):
                await client.analyze()
            return answers, row, reasoned, ended, models

    (good, bad), row, reasoned, ended, models = asyncio.run(ask())
    assert good == row == tiny_analyzer().analyze(GOOD)
    assert bad == tiny_analyzer().analyze(BAD)
    assert reasoned.sentiment.label == "neutral"
    assert [job.status for job in ended] == ["done", "done"]
    assert [model.name for model in models.models] == ["tiny"]


def test_in_process_the_analyzer_can_be_awaited():
    analyzer = tiny_analyzer()

    async def ask():
        with pytest.raises(InputError):
            await analyzer.aanalyze()
        return await asyncio.gather(*(analyzer.aanalyze(text, PICTURE, explain="full") for text in (GOOD, BAD)))

    assert asyncio.run(ask()) == [analyzer.analyze(text, PICTURE, explain="full") for text in (GOOD, BAD)]


def test_without_its_extra_the_client_names_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "httpx2", None)
    with pytest.raises(MissingExtraError, match="extra 'client'"):
        Client("http://127.0.0.1:9")
