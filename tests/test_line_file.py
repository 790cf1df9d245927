"""Files that grow line by line: whatever a kill leaves, whole lines stay and a cut one goes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.data import LineFile


def test_lines_are_on_disk_at_once_and_gone_on_from(tmp_path):
    path = tmp_path / "lines.jsonl"
    with LineFile(path) as file:
        file.append("one")
        file.append("zwei — ä")
        assert path.read_text(encoding="utf-8") == "one\nzwei — ä\n"
    with LineFile(path) as file:
        file.append("three")
        file.close()
        path.rename(tmp_path / "whole.jsonl")
    assert list(LineFile(tmp_path / "whole.jsonl").lines()) == [b"one\n", "zwei — ä\n".encode(), b"three\n"]


@given(lines=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n")), max_size=5), data=st.data())
def test_any_cut_leaves_the_lines_before_it(tmp_path_factory, lines, data):
    path = tmp_path_factory.mktemp("cut") / "lines"
    with LineFile(path) as file:
        for line in lines:
            file.append(line)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    assert len(list(LineFile(path).lines())) == whole
    with LineFile(path) as file:
        for line in lines[whole:]:
            file.append(line)
    assert path.read_bytes() == content


def test_nothing_is_touched_before_the_context_is_entered(tmp_path):
    path = tmp_path / "lines"
    file = LineFile(path)
    assert list(file.lines()) == []
    assert not path.exists()
    path.write_bytes(b"whole\ncut")
    assert list(LineFile(path).lines()) == [b"whole\n"]
    assert path.read_bytes() == b"whole\ncut"
    with pytest.raises(ValueError, match="is not open"):
        file.append("early")
