"""What a batch begins with alike is read once, and every row's logits are those of reading it whole."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hybrid_mmsa.reasoning.backends.transformers.beginning import (
    Beginnings,
    beginning_first,
    read_beginning,
    repeated,
    shared_beginning,
)

WIDTH, KEPT = 12, 2
ROWS = [[5, 6, 7, 1, 2, 3, 8, 9], [5, 6, 7, 4, 8, 9], [5, 6, 7, 1, 1, 1, 1, 1, 1, 1, 8, 9]]


def _padded(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    ids = torch.tensor([[0] * (WIDTH - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (WIDTH - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def test_tokens_that_all_rows_begin_with_are_counted() -> None:
    assert shared_beginning(_padded(ROWS), KEPT) == 3
    assert shared_beginning(_padded([*ROWS, [9, 6, 7, 1, 8, 9]]), KEPT) == 0


def test_wanted_columns_are_never_shared() -> None:
    assert shared_beginning(_padded([ROWS[0]] * 3), KEPT) == len(ROWS[0]) - KEPT
    assert shared_beginning(_padded([ROWS[0], [5]]), KEPT) == 0


def test_padding_moves_behind_the_beginning() -> None:
    rows = beginning_first(_padded(ROWS), 3)
    assert (rows["input_ids"][:, :3] == torch.tensor([5, 6, 7])).all()
    for number, row in enumerate(ROWS):
        there = rows["attention_mask"][number].bool()
        assert rows["input_ids"][number][there].tolist() == row
        assert rows["position_ids"][number][there].tolist() == list(range(len(row)))


def _model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = dict(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1
    )
    return LlamaForCausalLM(LlamaConfig(vocab_size=11, **shape)).eval()


def test_logits_and_gradients_are_those_of_whole_rows() -> None:
    model = _model()
    inputs = _padded(ROWS)
    whole = model(**inputs, use_cache=False, logits_to_keep=KEPT).logits
    whole.square().sum().backward()
    gradients = [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]
    model.zero_grad()

    rows = beginning_first(inputs, 3)
    shared = model(
        input_ids=rows["input_ids"][:, 3:],
        attention_mask=rows["attention_mask"],
        position_ids=rows["position_ids"][:, 3:],
        past_key_values=repeated(read_beginning(model, rows["input_ids"][0, :3]) or [], len(ROWS), 3),
        logits_to_keep=KEPT,
    ).logits
    shared.square().sum().backward()
    torch.testing.assert_close(shared, whole, atol=1e-5, rtol=1e-4)
    again = [weight.grad for weight in model.parameters() if weight.grad is not None]
    torch.testing.assert_close(again, gradients, atol=1e-5, rtol=1e-3)


def test_generation_goes_on_from_a_remembered_beginning() -> None:
    model = _model()
    beginnings = Beginnings(model)
    beginnings.learn("prompt", _padded([[5, 6, 7, 1, 9], [5, 6, 7, 4, 9]]))
    plain = _padded(ROWS)
    options = {"max_new_tokens": 4, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    whole, resumed = (model.generate(**inputs, **options) for inputs in (plain, beginnings.resume("prompt", plain)))
    assert (whole.sequences[:, WIDTH:] == resumed.sequences[:, WIDTH:]).all()
    torch.testing.assert_close(torch.stack(resumed.logits), torch.stack(whole.logits), atol=1e-5, rtol=1e-4)


def test_questions_that_part_sooner_share_what_is_alike() -> None:
    beginnings = Beginnings(_model())
    beginnings.learn("prompt", _padded([[5, 6, 7, 1, 9], [5, 6, 7, 4, 9]]))
    resumed = beginnings.resume("prompt", _padded([[5, 6, 8, 9], [5, 6, 8, 8, 9]]))
    assert resumed["past_key_values"].get_seq_length() == 2
    assert "past_key_values" not in beginnings.resume("prompt", _padded([[9, 6, 7, 1], [9, 6, 7, 8]]))


def test_a_picture_ends_what_is_shared() -> None:
    picture = 4
    rows = _padded([[5, 6, picture, picture, 7, 1], [5, 6, picture, picture, 7, 2]])
    assert shared_beginning(rows, KEPT, picture) == 2
    beginnings = Beginnings(_model(), picture)
    beginnings.learn("prompt", rows)
    assert beginnings.resume("prompt", rows)["past_key_values"].get_seq_length() == 2
