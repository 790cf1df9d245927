"""The examples do what a user of that kind wants: each is run as it stands, and what it prints is judged."""

import re

from documents import program_output


def printed(name):
    """The lines an example prints."""
    return program_output(f"eval/examples/{name}.py").splitlines()


def shares(lines, unit):
    """The shares an example prints, in percent, by what they are of, in its order."""
    found = [re.fullmatch(rf"(.+): (\d+)% {unit} \((\d+)% to (\d+)%\)", line) for line in lines]
    return {match[1]: tuple(int(n) for n in match.groups()[1:]) for match in found if match}


def test_brand_monitoring_finds_the_bad_week():
    lines = printed("brand_monitoring")
    found = shares(lines, "negative")
    assert list(found) == ["Aster week 1", "Aster week 2", "Birch week 1", "Birch week 2"]
    assert found["Aster week 2"][1] > found["Aster week 1"][2]
    assert [line for line in lines if line.startswith("ALARM")] == [
        "ALARM: Aster is worse than last week by more than chance"
    ]
    assert any("ate my files" in line and "sarcasm" in line for line in lines if line.startswith("read: "))
    assert next(line for line in lines if line.startswith("not read: ")).startswith("not read: broken: found no file")


def test_reviews_teach_an_adapter_that_says_what_hurts():
    lines = printed("product_reviews")
    accuracy = next(line for line in lines if line.startswith("| accuracy"))
    gain, low, _high = re.search(r"\+(\d\.\d+) \(([+-]\d\.\d+) to ([+-]\d\.\d+)\)", accuracy).groups()
    assert float(gain) > 0.2
    assert float(low) > 0, "the adapter beats the bundled model by more than chance"
    found = shares(lines, "unhappy")
    assert list(found) == ["lid", "cord", "spout"], "the part that hurts most comes first"
    assert found["lid"][1] > found["spout"][2]


def test_service_chats_hand_over_the_one_that_turns_bad():
    lines = {re.search(r"  (\w+):", line)[1]: line for line in printed("service_chats")}
    assert next(name for name, line in lines.items() if "ESCALATE" in line) == "delivery"
    assert next(iter(lines)) == "delivery", "the most urgent comes first"
    assert "ESCALATE" not in lines["thanks"] + lines["question"], "what was bad and is good now needs nobody"
    assert "message 2: words against picture" in lines["smile"]


def test_recommendations_feel_like_what_was_liked():
    ranked = [line.split("  ")[1] for line in printed("recommendation")]
    assert set(ranked[:2]) == {"lost love", "funeral march"}, "sad songs for one who likes sad posts"
    assert ranked.index("rage room") < ranked.index("launch party"), "anger is nearer to sadness than joy is"
