"""A page of its own lets a browser use its style, its script and what it names, and nothing else."""

import base64
import hashlib
import re

import pytest
from documents import ROOT

from hybrid_mmsa.explain.document import document

PACKAGE = ROOT / "hybrid_mmsa"
STYLES = ("explain/page/page.css", "evaluation/report.css", "video/page.css")
INKS = {"ink", "soft", "link", "negative", "neutral", "positive", "other", "text", "image"}


def hashed(source):
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def rules(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    return dict(rule.split(" ", 1) for rule in policy.split("; "))


@pytest.mark.parametrize("script", ["", "let a = 1 < 2;"])
def test_the_policy_names_the_style_and_the_script_that_are_there(script):
    page = document("t", "<p>shown</p>", style=".own { color: red; }", script=script, sources=["img-src data:"])
    found = rules(page)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style.endswith(".own { color: red; }")
    assert found.pop("style-src") == hashed(style)
    assert found.pop("script-src", "") == (hashed(script) if script else "")
    assert found == {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    assert page.count("<script") == bool(script)


def test_a_title_is_text_and_a_page_can_be_written():
    page = document("</title><script>alert(1)</script>\ud800", "<p>\ud83d</p>", style="")
    assert "<script" not in page
    page.encode("utf-8")


def test_a_page_is_loaded_again_only_where_that_was_asked_for():
    assert 'http-equiv="refresh"' not in document("t", "", style="")
    assert '<meta http-equiv="refresh" content="30">' in document("t", "", style="", refresh=30)


def colours(name):
    """The colours that a page has by their names, by day and by night."""
    shared, own = ((PACKAGE / file).read_text(encoding="utf-8") for file in ("explain/document.css", name))
    day, night = {}, {}
    for style in (shared, own):
        for found in re.finditer(r"(@media \(prefers-color-scheme: dark\) \{\s*)?:root \{([^}]*)\}", style):
            (night if found[1] else day).update(re.findall(r"--([\w-]+): (#\w{6})", found[2]))
    return day, day | night


@pytest.mark.parametrize("name", STYLES)
def test_colours_have_contrast_enough(name):
    def luminance(colour):
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(a, b):
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    for found in colours(name):
        assert {"paper", "panel"} <= set(found)
        for ink in INKS & set(found):
            assert contrast(found[ink], found["paper"]) >= 4.5, ink
            assert contrast(found[ink], found["panel"]) >= 4.5, ink
        assert contrast(found["warn"], found["warn-paper"]) >= 4.5
        assert contrast(found.get("floor", found["edge"]), found["panel"]) >= 3
