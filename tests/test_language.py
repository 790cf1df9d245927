"""Texts that are not English are noticed, said, and deferred."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.inputs import FOREIGN, looks_foreign, normalise


@pytest.mark.parametrize(
    "text",
    [
        "С днем святого валентина",
        "今日はとても楽しかったです",
        "最悪だ",
        "الطعام كان سيئا جدا",
        "Hoy es un día muy triste para todos los que están con ella",
        "servicio pesimo, nunca mas",
        "Ich bin heute nicht sehr glücklich und das ist auch gut",
        "Das Essen war furchtbar und der Kellner unfreundlich",
        "C'était vraiment nul, je ne reviendrai jamais",
        "Il cibo era freddo e il cameriere maleducato",
        "A comida estava fria e o garçom foi grosseiro",
        "Het eten was koud en de ober was onbeleefd",
    ],
)
def test_other_languages_are_noticed(text):
    assert looks_foreign(normalise(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        "😂😂",
        "12345",
        "RT @user: http",
        "So happy to be back with the team",
        "Best pho in Nürnberg",
        "Crème brûlée at Café de Flore was divine",
        "gr8 game lol, cu tmrw",
        "5/5 stars!!!",
        "@AcmeBank your app logs me out every time",
        "#MondayMotivation #gym http://t.co/x",
        "el servicio was terrible, never again",
        "best day everrrr omgggg",
        "𝗜 𝗵𝗮𝘁𝗲 𝘁𝗵𝗶𝘀",
        "Ｉ ｈａｔｅ ｔｈｉｓ",
        "ɪ ʜᴀᴛᴇ ᴛʜɪs",
        "🅸 🅷🅰🆃🅴 🆃🅷🅸🆂",
        "І hаtе thіs sо muсh",
        "PRICE DROP: wireless headphones 30% off",
    ],
)
def test_english_and_too_little_to_tell_pass(text):
    assert not looks_foreign(normalise(text))


@given(st.text(max_size=200))
def test_any_text_is_judged(text):
    assert looks_foreign(normalise(text)) in (True, False)


def test_a_post_in_another_language_is_said_to_be_so_and_deferred(analyzer):
    german, english = analyzer.analyze_batch(
        ["Das Essen war furchtbar und der Kellner unfreundlich", "The food was awful and the waiter unfriendly"]
    )
    assert FOREIGN in german.warnings
    assert german.route.decision == "defer"
    assert "language" in german.route.reasons
    assert "language" not in english.route.reasons
    assert FOREIGN not in english.warnings
    kept = analyzer.analyze("Das Essen war furchtbar und der Kellner unfreundlich", mode="fast")
    assert kept.route.decision == "keep"
    assert FOREIGN in kept.warnings
