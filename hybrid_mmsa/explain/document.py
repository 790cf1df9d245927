"""A page as one file: its head, a content security policy, and the style that all pages share. Knows nothing of posts.

Nothing on such a page comes from elsewhere: the policy lets a browser use the page's own style and script, and the
sources of pictures or films that are named here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from ..inputs import writable

__all__ = ["document"]

_SHARED = Path(__file__).with_name("document.css")


def document(
    title: str, body: str, *, style: str, script: str = "", sources: Sequence[str] = (), refresh: int | None = None
) -> str:
    """The page.

    Args:
        title: Plain text, for the browser's tab.
        body: All that is shown, as HTML.
        style: Of this page, behind the style that all share; elements may have none of their own.
        script: Runs behind the body.
        sources: What else may be shown, as a policy spells it: `img-src data:`.
        refresh: Seconds after which a browser loads the page again.
    """
    style = _SHARED.read_text(encoding="utf-8") + style
    policy = "; ".join(_rules(style, script, sources))
    again = "" if refresh is None else f'<meta http-equiv="refresh" content="{refresh}">\n'
    program = f"<script>{script}</script>\n" if script else ""
    return writable(f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
{again}<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
{body}
{program}</body>
</html>
""")


def _rules(style: str, script: str, sources: Sequence[str]) -> Iterator[str]:
    yield "default-src 'none'"
    yield from sources
    if script:
        yield f"script-src '{_hash(script)}'"
    yield f"style-src '{_hash(style)}'"
    yield from ("base-uri 'none'", "form-action 'none'")


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")
