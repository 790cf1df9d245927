"""Whatever a server does, a reasoner ends in time, in bounded memory, with a typed error that holds no key."""

import time
import traceback

import pytest
from gguf_vlm import remote

from eval.bench.hardening.servers import KEY, MISDEEDS, TIMEOUT, misbehaving
from hybrid_mmsa import Analyzer
from hybrid_mmsa.errors import InputError, ReasonerError
from hybrid_mmsa.reasoning import open_reasoner
from hybrid_mmsa.types import Sample

POST = Sample(text="so lovely")


@pytest.mark.parametrize("name", MISDEEDS)
def test_a_misbehaving_server_is_a_typed_error_in_time(name, monkeypatch):
    monkeypatch.setenv("TINY_KEY", KEY)
    with misbehaving(MISDEEDS[name]) as url:
        reasoner = open_reasoner(remote(url, timeout=TIMEOUT, retries=2, api_key_env="TINY_KEY"))
        start = time.monotonic()
        with pytest.raises(ReasonerError) as raised:
            reasoner.reason([POST])
        assert time.monotonic() - start < 2 * TIMEOUT
        reasoner.close()
    shown = "".join(traceback.format_exception(raised.value))
    assert KEY[:8] not in shown
    assert len(str(raised.value)) < 700


def test_the_fast_answer_stands_and_the_key_is_not_in_it(monkeypatch, analyzer):
    monkeypatch.setenv("TINY_KEY", KEY)
    with misbehaving(MISDEEDS["the key in an error"]) as url:
        reasoner = open_reasoner(remote(url, timeout=TIMEOUT, api_key_env="TINY_KEY"))
        cascade = Analyzer(analyzer.encoder, list(analyzer.adapters.values()), reasoner=reasoner)
        answer = cascade.analyze("what a lovely day", mode="deep")
        reasoner.close()
    assert answer.route.answered_by == "fast"
    assert any("***" in warning for warning in answer.warnings)
    assert KEY not in answer.model_dump_json()
    assert KEY not in repr((reasoner, vars(reasoner)["config"], cascade))


@pytest.mark.parametrize("url", [f"http://127.0.0.1:9/v1?api_key={KEY}", f"http://me:{KEY}@127.0.0.1:9/v1"])
def test_an_address_that_holds_a_secret_is_refused_without_showing_it(url):
    with pytest.raises(InputError) as raised:
        open_reasoner(remote(url))
    assert KEY not in str(raised.value)
