"""The site has a place for every page, and its pages lead to pages. `make docs` builds it, strictly."""

import os
import re
import subprocess
import sys

from documents import ROOT

from eval.bench.hardening.servers import answer, misbehaving

PAGES = ROOT / "build" / "site-pages"
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)")
FENCED = re.compile(r"^(```+).*?^\1$", re.MULTILINE | re.DOTALL)


def test_every_page_is_in_the_navigation_and_every_link_leads_to_one():
    subprocess.run([sys.executable, ".ci/site", "--pages"], cwd=ROOT, check=True)
    pages = {path.relative_to(PAGES).as_posix(): path.read_text(encoding="utf-8") for path in PAGES.rglob("*.md")}
    navigation = re.findall(
        r"^ +- [^\n:]+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(navigation) == sorted(pages)
    for name, text in pages.items():
        targets = [(PAGES / name).parent / target for target in LINK.findall(FENCED.sub("", text))]
        assert [target for target in targets if not target.is_file()] == [], name
        assert not re.search(r"^```\w+ +\S", text, re.MULTILINE), f"{name}: a fence that mkdocs cannot read"
    assert "::: hybrid_mmsa\n" in pages["reference.md"]
    assert pages["cards/default.md"].startswith("# Model card: default")


def test_an_address_that_is_gone_is_told_with_its_file(tmp_path):
    page = tmp_path / "page.md"
    with misbehaving(answer(b"here")) as here, misbehaving(answer(b"", status="404 Gone")) as gone:
        page.write_text(f"[a]({here}), [b]({gone}).\n\n```\nhttp://127.0.0.1:9/fenced\n```\nhttps://example.org\n")
        command = [sys.executable, ".ci/links", str(page)]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."})
    assert found.stdout == f"gone: {gone} in page.md (status 404)\n2 addresses in 1 files, 1 gone\n", found.stderr
    assert found.returncode == 1
