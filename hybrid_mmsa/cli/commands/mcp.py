"""`hybrid-mmsa mcp`: the analyzer as tools of an agent, by way of standard input and output. It holds no logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import InputError
from ...extras import needs
from ..terminal.console import say
from ..terminal.options import AdapterChoice, AnswerOptions, LimitChoices, Model, PolicyChoice, ReasonerChoice

__all__ = ["mcp"]


def mcp(
    image_root: Annotated[
        Path | None,
        typer.Option("--image-root", metavar="DIR", help="Folder that pictures may be read from; none by default."),
    ] = None,
    model: Model = "default",
    adapter: AdapterChoice = None,
    reasoner: ReasonerChoice = None,
    policy: PolicyChoice = None,
    limit: LimitChoices = None,
) -> None:
    """Offer the tools analyze, explain and review_queue to an agent (MCP, stdio).

    It answers on standard output until standard input ends; no port is opened
    and nothing is fetched. Register it in an agent as this very command.

    For example:
        hybrid-mmsa mcp
        hybrid-mmsa mcp --image-root photos --adapter adapters/mine
    """
    with needs("mcp", "serving an agent"):
        from ...integrations.mcp import make_server
    if image_root is not None and not image_root.is_dir():
        raise InputError(f"{image_root} is no folder", field="--image-root")
    options = AnswerOptions(model=model, adapter=adapter, reasoner=reasoner, policy=policy, limit=limit)
    analyzer, chosen = options.open()
    server = make_server(analyzer, image_root, adapter=chosen)
    say("answering an agent on standard input and output; Ctrl-C ends it")
    server.run("stdio")
