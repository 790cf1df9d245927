"""The wordings that rationales are put together from, each a clause without capital and full stop. Knows no grammar.

Slots are in braces: a label's word for `label` (the post), `text`, `picture`, `both` (the post and its two sides) or
`only` (the post and its words);
`seen` things in the picture; `quoted` words of the post, which stand there for sure.
"""

from __future__ import annotations

__all__ = [
    "AGREEING",
    "ALONE",
    "APART",
    "BOTH",
    "FOLLOWING",
    "IRONIC",
    "JOINS",
    "LINKS",
    "MOST_CHARACTERS",
    "NOT_IRONIC",
    "ONLY",
    "ONLY_QUOTED",
    "PICTURE",
    "PICTURE_DECIDES",
    "PICTURE_SEEN",
    "QUOTED",
    "TOGETHER",
    "TOGETHER_BOTH",
    "WORDS",
    "WORDS_DECIDE",
    "WORDS_QUOTED",
]

MOST_CHARACTERS = 200

WORDS = (
    "the words are {text}",
    "the words say {text}",
    "the words sound {text}",
    "the text reads as {text}",
    "the text is {text}",
    "what is written is {text}",
    "the words by themselves are {text}",
    "on its own the text is {text}",
    "the writing has a {text} tone",
    "the post is worded in a {text} way",
)
WORDS_QUOTED = (
    "the words are {text}, as in {quoted}",
    "the words say {text} with {quoted}",
    "the words sound {text}, see {quoted}",
    "the text reads as {text}, to go by {quoted}",
    "with {quoted} the text is {text}",
    "what is written is {text}, above all {quoted}",
    "going by {quoted} the words are {text}",
    "the text is {text}: look at {quoted}",
)
ONLY = (
    "by its words the post is {only}",
    "the words make this a {only} post",
    "its wording makes the post {only}",
    "as it is worded the post is {only}",
    "this is a {only} post by what it says",
)
"""Of posts that are words alone, which feel what their words feel: one clause says both."""
ONLY_QUOTED = (
    "the post is {only}, as in {quoted}",
    "this is a {only} post: see {quoted}",
    "the author feels {only}, to go by {quoted}",
    "with {quoted} the post is {only}",
    "it is {quoted} that makes the post {only}",
    "the post sounds {only}, above all with {quoted}",
)
"""The same of posts whose deciding words are known."""
QUOTED = (
    "it turns on {quoted}",
    "what counts is {quoted}",
    "see {quoted}",
    "look at {quoted}",
)
"""Of posts whose words are not said to feel anything by themselves."""
PICTURE = (
    "the picture is {picture}",
    "the picture says {picture}",
    "the picture looks {picture}",
    "what is seen is {picture}",
    "the photo feels {picture}",
    "the image by itself is {picture}",
    "on its own the picture is {picture}",
    "the picture has a {picture} mood",
    "what the picture shows is {picture}",
    "to the eye it is {picture}",
)
PICTURE_SEEN = (
    "the picture shows {seen} and is {picture}",
    "the picture with {seen} is {picture}",
    "the picture of {seen} looks {picture}",
    "the photo shows {seen} and feels {picture}",
    "the image has {seen} in it and is {picture}",
    "with {seen} in it the picture is {picture}",
    "what is seen is {picture}, with {seen} in the picture",
    "the picture is {picture}, showing {seen}",
    "the picture, where {seen} can be seen, is {picture}",
    "the picture has a {picture} mood and shows {seen}",
)
BOTH = (
    "words and picture are both {both}",
    "words and picture agree on {both}",
    "the words and the picture say the same: {both}",
    "what is written and what is seen are both {both}",
    "text and picture point the same way, to {both}",
    "neither side speaks against the other and both are {both}",
    "the picture shows what the words say, {both}",
)
AGREEING = (
    "both agree, so the post is {label}",
    "the two sides agree on a {label} post",
    "together they make a {label} post",
    "one backs the other, and the post is {label}",
    "nothing speaks against a {label} post",
)
WORDS_DECIDE = (
    "the words decide: {label}",
    "the words carry the post, which is {label}",
    "the picture leaves it to the words, so the post is {label}",
    "the words tip the post to {label}",
    "the picture adds no feeling, so the post is {label}",
)
PICTURE_DECIDES = (
    "the picture decides: {label}",
    "the picture carries the post, which is {label}",
    "the words leave it to the picture, so the post is {label}",
    "the picture tips the post to {label}",
    "the words add no feeling, so the post is {label}",
)
APART = (
    "the two disagree, and taken together the post is {label}",
    "they pull apart, and the post ends up {label}",
    "the sides differ, and the whole is {label}",
)
TOGETHER = (
    "the post is {label}",
    "the post as a whole is {label}",
    "all in all it is {label}",
    "the author feels {label}",
    "as a whole it is {label}",
)
TOGETHER_BOTH = (
    "taken together the post is {label}",
    "the two sides make it a {label} post",
)
"""Of posts with two sides."""
FOLLOWING = (
    "so the post is {label}",
    "this makes the post {label}",
    "overall that is {label}",
    "hence a {label} post",
)
"""Like those before, but never first."""
ALONE = (
    "nothing else is there, so the post is {label}",
    "that alone makes the post {label}",
    "there is no other side, and the post is {label}",
    "with nothing beside it the post is {label}",
)
IRONIC = (
    "the author means the opposite",
    "this is sarcasm",
    "it is meant ironically",
    "the words are not meant as they stand",
    "there is irony in it",
    "the author is mocking",
    "it is said tongue in cheek",
)
NOT_IRONIC = (
    "it is meant as it stands",
    "there is no irony in it",
    "nothing here is sarcastic",
    "the author is in earnest",
    "no mockery is meant",
    "the words are meant as they stand",
)

LINKS = {
    "same": (", and ", "; ", ", and also ", ", just as "),
    "apart": (", but ", ", while ", "; ", ", yet ", ", and "),
}
"""What stands between what the sides say, where they say the same and where not."""
JOINS = (". ", ": ", *dict.fromkeys(link for links in LINKS.values() for link in links))
"""All that may stand between two clauses."""
