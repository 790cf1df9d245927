"""Cards begin with what Hugging Face reads, and its figures are those of the card's own tables."""

import re

import pytest
from huggingface_hub import ModelCard

from hybrid_mmsa.adapters import Adapter, bundled_adapters
from hybrid_mmsa.training.common.model_card import CardResult, front_matter


@pytest.mark.parametrize("name", sorted(bundled_adapters()))
def test_the_hub_reads_the_figures_of_a_bundled_card(name):
    card = Adapter.load(bundled_adapters()[name]).card
    read = ModelCard(card)
    assert read.data.model_name == name
    assert read.data.library_name == "hybrid_mmsa"
    table = re.sub(r"^---\n.*?\n---\n", "", card, count=1, flags=re.DOTALL)
    assert read.data.eval_results
    for result in read.data.eval_results:
        shown = (rf"\| {result.metric_value:.3f} (\||\()", rf"\| {result.metric_value:.1f} \[")
        assert any(re.search(pattern, table) for pattern in shown), result


def test_a_card_without_figures_and_with_odd_names_is_read():
    assert ModelCard(front_matter("mine", []) + "# mine\n").data.eval_results is None
    result = CardResult(dataset='posts: "odd" # {name}', metric="macro F1", value=0.5, note="n = 9")
    (read,) = ModelCard(front_matter('a: "b"', [result], base="org/model") + "# a\n").data.eval_results
    assert (read.dataset_name, read.metric_type, read.metric_value) == ('posts: "odd" # {name}', "macro_f1", 0.5)
