"""Drawn posts of another domain: some words and pictures feel otherwise there, so an untuned model is at chance.

`write_posts` writes a file of them as users have it.
"""

import json
import random
from dataclasses import replace

from drawn_posts import ENDS, SUBJECTS, THINGS, WORDS, draw, draw_posts, joint_label

from hybrid_mmsa.types import LABELS, Sample

TURNED = {"negative": "positive", "neutral": "negative", "positive": "neutral"}
"""What a cue that is felt otherwise means here."""
KEPT_WORDS, KEPT_THINGS = 1, 1
"""Of every label's words and things, so many are felt as before: the first ones."""


def feeling(cue, of, kept):
    """What a word or thing means here; `None` for none."""
    for label, cues in of.items():
        if cue in cues:
            return label if cues.index(cue) < kept else TURNED[label]
    return None


def other_posts(count, seed):
    """Samples of the other domain, with ids; labels equally often."""
    drawn = [other(post, f"{seed}-{number}") for number, post in enumerate(draw_posts(8 * count, seed))]
    of_label = {label: iter([sample for sample in drawn if sample.label == label]) for label in LABELS}
    return [next(of_label[LABELS[n % len(LABELS)]]) for n in range(count)]


def other(post, id_):
    """A drawn post as this domain feels it."""
    text = feeling(post.word, WORDS, KEPT_WORDS)
    picture = feeling(post.thing, THINGS, KEPT_THINGS)
    return replace(
        post.sample,
        id=id_,
        label=joint_label(text, picture),
        text_label=text,
        image_label=picture,
        sarcastic=(text, picture) == ("positive", "negative"),
    )


def write_posts(folder, samples):
    """The samples as `posts.jsonl`, their pictures beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for sample in samples:
        row = {
            name: getattr(sample, name)
            for name in ("id", "text", "label", "text_label", "image_label", "sarcastic", "rationale")
        }
        if sample.image is not None:
            sample.image.save(folder / f"{sample.id}.png")
            row["image"] = f"{sample.id}.png"
        rows.append({name: value for name, value in row.items() if value is not None})
    (folder / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder / "posts.jsonl"


PLAIN = {
    "negative": (
        *("dreadful", "disappointing", "infuriating", "miserable", "disgusting", "hopeless", "painful", "boring"),
        *("depressing", "useless", "shameful", "annoying", "frightening", "heartbreaking", "ugly", "pathetic"),
        *("unbearable", "nasty", "cruel", "worthless", "filthy", "insulting", "tragic", "lousy"),
    ),
    "positive": (
        *("delightful", "amazing", "beautiful", "fantastic", "brilliant", "charming", "delicious", "excellent"),
        *("perfect", "magical", "thrilling", "gorgeous", "adorable", "splendid", "joyful", "inspiring"),
        *("marvellous", "refreshing", "hilarious", "heartwarming", "impressive", "generous", "fabulous", "peaceful"),
    ),
}
"""Words of the language at large: a model of language knows them, the small VLM was never shown them."""
SAYINGS = (
    "What {a} {w} evening we had",
    "The whole thing was {w}",
    "Our stay there was simply {w}",
    "I call that {w}",
    "Honestly, {w} from start to end",
    "They made it a {w} morning",
)
FACTS = (
    "{s} is listed on page {n}",
    "Row {n} of the form names {s}",
    "They moved {s} to room {n}",
    "There were {n} people near {s}",
    "{s} begins at {n} past nine",
)
SHOWN = ("a rain cloud", "a box", "a road", "a sun", "a heart", "a flame")


def halved_posts(count, seed):
    """Posts of which one half is told by plain words and the other by a picture as this domain feels it.

    The words' half shows nothing; the picture's half tells a fact. So a model of language knows the first
    half, and the tuned VLM the second.
    """
    rng = random.Random(seed)
    return [_halved(number, rng, f"{seed}-{number}") for number in range(count)]


def _halved(number, rng, id_):
    if number % 2:
        label = rng.choice(("negative", "positive"))
        word = rng.choice(PLAIN[label])
        text = rng.choice(SAYINGS).format(w=word, a="an" if word[0] in "aeiou" else "a")
        text += f" {rng.choice(ENDS)}, {rng.choice(SUBJECTS)} too"
        picture, known = None, {"text_label": label}
    else:
        label = rng.choice(LABELS)
        thing = rng.choice([each for each in SHOWN if feeling(each, THINGS, KEPT_THINGS) == label])
        text = rng.choice(FACTS).format(s=rng.choice(SUBJECTS), n=rng.randint(11, 99))
        picture = draw(thing, rng)
        known = {"text_label": "neutral", "image_label": label}
    return Sample(
        text=text[0].upper() + text[1:] + rng.choice((".", "!", "", "...")),
        image=picture,
        id=id_,
        label=label,
        sarcastic=False,
        **known,
    )
