"""A process that `fork` made answers posts, whatever its parent's threads were doing; or it says why it cannot."""

import os
import threading
import warnings
from types import SimpleNamespace

import pytest
import tiny

from hybrid_mmsa import Analyzer, Policy, ReasonerError, Sample, forks
from hybrid_mmsa.forks import Home, OpenLock
from hybrid_mmsa.reasoning.backends.llama_cpp import LlamaCppReasoner
from hybrid_mmsa.reasoning.backends.transformers import TransformersReasoner

WORDS = "we love the sun and the sea"


def in_child(work):
    """The exit code of a forked process: 0 where `work()` is true there, 3 where it hangs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, which is the point
        child = os.fork()
    if not child:
        threading.Timer(30, os._exit, (3,)).start()
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture
def held_locks():
    """Every lock there is, held by another thread."""
    ready, done = threading.Event(), threading.Event()

    def hold():
        locks = [value for value in tuple(forks._FORKED) if isinstance(value, OpenLock)]
        for lock in locks:
            lock.__enter__()
        ready.set()
        done.wait()
        for lock in locks:
            lock.__exit__(None, None, None)

    holder = threading.Thread(target=hold)

    def start():
        holder.start()
        ready.wait()

    yield start
    done.set()
    holder.join()


def test_a_child_answers_although_every_lock_was_held(tiny_model, held_locks):
    analyzer = Analyzer.from_pretrained(tiny_model, cache=10)
    post = Sample(text=WORDS, image=tiny.pictures(1, side=40)[0])
    (expected,) = analyzer.analyze_batch([post])
    held_locks()
    assert analyzer.encoder._lock.locked()
    assert in_child(lambda: analyzer.analyze_batch([post]) == [expected]) == 0
    assert in_child(lambda: analyzer.analyze("the sea").fast is not None) == 0


def test_a_child_answers_while_threads_of_its_parent_do():
    """Also where a thread was inside ONNX Runtime, whose own locks then stay closed."""
    analyzer, stop = Analyzer.from_pretrained(cache=4), threading.Event()
    expected = analyzer.analyze(WORDS)

    def answer_on(number):
        while not stop.is_set():
            number += 1
            analyzer.analyze(f"{WORDS} {number}")

    threads = [threading.Thread(target=answer_on, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        new = f"{WORDS} again"
        codes = {in_child(lambda: analyzer.analyze(WORDS) == expected and analyzer.analyze(new).fast) for _ in range(8)}
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert codes == {0}


def test_a_child_opens_sessions_again_that_have_threads_of_their_own():
    analyzer = Analyzer.from_pretrained(threads=2)
    expected = analyzer.analyze(WORDS)
    assert in_child(lambda: analyzer.analyze(WORDS) == expected) == 0


def test_the_child_of_the_holder_of_a_lock_leaves_it_open():
    lock = OpenLock()

    def leaves():
        lock.__exit__(None, None, None)
        with lock:
            return lock.locked()

    with lock:
        assert in_child(leaves) == 0
        assert lock.locked()
    assert not lock.locked()


def test_a_lock_lets_one_in_at_a_time():
    lock, inside, most = OpenLock(), [], []

    def work():
        for _ in range(200):
            with lock:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1


@pytest.mark.parametrize("kind", [LlamaCppReasoner, TransformersReasoner])
def test_a_model_in_memory_is_not_asked_in_a_child(kind):
    """Its threads are gone there and its state may be half changed; it would hang, or answer with another's LoRA."""
    reasoner = kind.__new__(kind)
    reasoner.id, reasoner._home = "wise", Home()

    def refuses():
        for ask in (lambda: reasoner.reason([Sample(text=WORDS)]), lambda: reasoner.load(None)):
            with pytest.raises(ReasonerError, match="wise was opened before this process was forked"):
                ask()
        return True

    assert in_child(refuses) == 0


def test_the_fast_answer_stands_where_the_reasoner_stayed_behind(tiny_model):
    home = Home()
    reasoner = SimpleNamespace(id="wise", reason=lambda *_, **__: home.check("wise"))
    loaded = Analyzer.from_pretrained(tiny_model)
    analyzer = Analyzer(loaded.encoder, [*loaded.adapters.values()], reasoner=reasoner, policy=Policy(kind="always"))

    def stands():
        answer = analyzer.analyze(WORDS)
        return answer.sentiment == answer.fast and any("forked" in warning for warning in answer.warnings)

    assert in_child(stands) == 0
