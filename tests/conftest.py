"""What all tests share: no network, the same arithmetic on every CPU, one analyzer, models that are trained once."""

import ipaddress
import os
import socket
import sys

# A hub client that a test's model touches must not even try; set before any of them is imported.
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
# Sums are rounded by the number of threads that share them. With one thread results are the same on every machine, and
# as many test processes as there are cores do not wait for each other. Set before torch is imported.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")

import pytest
from hypothesis import HealthCheck, settings
from readable_ids import readable_id
from trained_once import TRAINERS, trained_once

# A slow machine is no failure, and a failure must be met again by the next run.
settings.register_profile("house", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
# `make fuzz`: many inputs, and other ones every time.
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "2000")),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))


def pytest_make_parametrize_id(val, argname):
    """Rows of tables are named so that `pytest --collect-only` can be read."""
    return readable_id(val, argname)


def pytest_collection_modifyitems(items):
    """Long files first, so that no test process goes on long after the others.

    The first file trains the small VLM; those that others wait for meanwhile do not ask for it.
    """
    files = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    seeing = [path for path, tests in files.items() if any("trained_vlm" in test.fixturenames for test in tests)]
    training = [path for path, tests in files.items() if hasattr(tests[0].module, "torch")]
    order = dict.fromkeys([*seeing[:1], *(path for path in training if path not in seeing), *seeing, *files])
    items[:] = [test for path in order for test in files[path]]


class NetworkUseError(Exception):
    """A test reached for the network."""


def is_local(address) -> bool:
    """Unix sockets, and addresses of this very machine."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    if host in {"", "localhost"}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Every test runs with the network refused; servers on this machine may be spoken to."""

    def guarded(original):
        def call(self, address, *rest):
            if not is_local(address):
                raise NetworkUseError(f"a test tried to reach {address}")
            return original(self, address, *rest)

        return call

    def look_up(host, *rest, **options):
        if host is not None and not is_local((host if isinstance(host, str) else host.decode(), 0)):
            raise NetworkUseError(f"a test tried to look up {host}")
        return resolve(host, *rest, **options)

    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.fixture(scope="session")
def analyzer():
    """The bundled default model, loaded once."""
    from hybrid_mmsa import Analyzer

    return Analyzer.from_pretrained()


@pytest.fixture
def alert():
    """What a watch raises where a share has doubled."""
    from hybrid_mmsa.watch import Alert

    return Alert(
        time="2026-03-01T01:00:00Z",
        group="a",
        measure="negative",
        since="2026-03-01T00:00:00Z",
        before=0.2,
        now=0.4,
        posts=9,
        false_alarms_per_week=0.1,
    )


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The adapter folder of a small real model with random weights, see `tiny.build`."""
    from tiny import build

    return build(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def float32_training():
    """Training computes in float32, as on a CPU without bf16 units: what is learnt is the same on every CPU."""
    from hybrid_mmsa.training.common import device

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "BF16_UNITS", ())
        device.multiplies_bf16.cache_clear()
        yield


@pytest.fixture(scope="session", autouse=True)
def same_arithmetic(request):
    """Nothing is trained in bf16. Tests that need no torch do not import it for this."""
    if "torch" in sys.modules:
        request.getfixturevalue("float32_training")


@pytest.fixture(scope="session")
def trained_vlm():
    """The folder of a small LLaVA that was trained to judge drawn posts, see `tiny_vlm`."""
    import tiny_vlm

    return trained_once("vlm", tiny_vlm.trained_vlm, tiny_vlm.made_from(), TRAINERS)
