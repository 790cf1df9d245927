"""`hybrid-mmsa serve` and `new-key`: the analyzer behind HTTP, and keys that open it. It holds no logic of its own."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from ...analyzer import Analyzer
from ...errors import InputError
from ...extras import needs
from ...serving import DEFAULT_SETTINGS, Keys, create_app, new_key
from ..terminal.console import PROGRAM, complain, emit, say
from ..terminal.options import AnswerOptions, LimitChoices, Model, PolicyChoice, ReasonerChoice, SensesChoice
from ..terminal.settings import with_settings

__all__ = ["make_key", "serve"]

KEYS = "HYBRID_MMSA_KEYS"

AllowedHosts: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="A host name that the server answers for; repeat it."),
]
AllowedOrigins: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--allow-origin", metavar="ORIGIN", help="A site whose pages may ask, as https://a.org; repeat it."),
]
PictureOrigins: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-picture-origin",
        metavar="ORIGIN",
        help="Fetch pictures that posts name by their address there, as https://images.a.org; repeat it.",
    ),
]


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on; others than this machine's need keys.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help=f"Lines that `new-key` printed; else those in {KEYS}."),
    ] = None,
    model: Model = "default",
    adapter: Annotated[
        list[str] | None,
        typer.Option("--adapter", metavar="NAME_OR_PATH", help="An adapter that requests may name; repeat it."),
    ] = None,
    reasoner: ReasonerChoice = None,
    policy: PolicyChoice = None,
    limit: LimitChoices = None,
    senses: SensesChoice = None,
    allow_host: AllowedHosts = None,
    allow_origin: AllowedOrigins = None,
    allow_picture_origin: PictureOrigins = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A limit of the server, see docs/serving.md; repeat it."),
    ] = None,
) -> None:
    """Serve answers over HTTP, and a page to try them.

    It listens on this machine alone, without a key, until an address and keys
    are named. A signal to stop (Ctrl+C) lets it finish what it has taken.

    For example:
        hybrid-mmsa serve
        hybrid-mmsa serve --reasoner smol --set deferred_posts=200
        hybrid-mmsa serve --host 0.0.0.0 --keys keys.txt
    """
    with needs("serve", "the server"):
        from ...serving.server import bound_socket, run
    known = _keys(keys)
    if known is None and not _is_this_machine(host):
        raise InputError(f"listening on {host} needs --keys FILE, or {KEYS}; make one with `{PROGRAM} new-key`")
    settings = with_settings(DEFAULT_SETTINGS, setting or ())
    sock = bound_socket(host, port)
    with (
        sock,
        _analyzer(
            model, adapter or (), AnswerOptions(reasoner=reasoner, policy=policy, limit=limit, senses=senses)
        ) as analyzer,
    ):
        hosts = allow_host or (None if known is not None or host in ("localhost", "127.0.0.1", "::1") else [host])
        doors = {"origins": allow_origin or (), "picture_origins": allow_picture_origin or ()}
        app = create_app(analyzer, settings, keys=known, hosts=hosts, **doors)
        shown = f"[{host}]" if ":" in host else host
        guard = "open to this machine" if known is None else f"{len(known)} key{'s' if len(known) != 1 else ''}"
        say(f"listening on http://{shown}:{sock.getsockname()[1]}/ ({guard}); Ctrl+C stops it")
        run(app, settings, sock)


def make_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is; logs and rates go by it.")],
) -> None:
    """Make a key that opens a server, and print it once.

    The key goes to its user; the line that recognises it, into the file of
    `serve --keys`. The key cannot be made again from the line.

    For example:
        hybrid-mmsa new-key shop >> keys.txt
    """
    key, line = new_key(name)
    complain(f"the key, shown once: {key}")  # also under --quiet: it cannot be made again
    emit(line)


def _analyzer(model: str, adapters: list[str] | tuple[str, ...], options: AnswerOptions) -> Analyzer:
    return Analyzer.from_pretrained(
        model,
        adapters=adapters,
        reasoner=options.reasoner,
        policy=options.policy,
        limits=options.limits(),
        senses=options.read(),
    )


def _keys(file: Path | None) -> Keys | None:
    if file is not None:
        return Keys.from_file(file)
    return Keys.read(os.environ[KEYS], KEYS) if os.environ.get(KEYS) else None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
