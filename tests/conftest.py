"""What all tests share: no network, one analyzer, property tests that mind no clock."""

import ipaddress
import os
import socket

# A hub client that a test's model touches must not even try; set before any of them is imported.
os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import pytest
from hypothesis import HealthCheck, settings

# A slow machine is no failure, and a failure must be met again by the next run.
# Slowness is no failure: the machine may be busy.
settings.register_profile("house", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


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


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The adapter folder of a small real model with random weights, see `tiny.build`."""
    from tiny import build

    return build(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def trained_vlm(tmp_path_factory):
    """The folder of a small LLaVA that was trained to judge drawn posts, see `tiny_vlm`."""
    from tiny_vlm import trained_vlm

    return trained_vlm(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="session")
def tiny_nano(tmp_path_factory):
    """A small nano that `train nano` made of drawn posts, see `tiny_nano`."""
    from tiny_nano import trained

    return trained(tmp_path_factory.mktemp("tiny-nano"))
