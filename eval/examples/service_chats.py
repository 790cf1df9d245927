"""Customer-service chats: where does a conversation turn, and which one needs a person now?

    python eval/examples/service_chats.py

A message counts for more the later it comes. Words that say one thing and a picture that says another are marked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

import hybrid_mmsa
from hybrid_mmsa import Analyzer, Sample

SAMPLES = Path(hybrid_mmsa.__file__).parent / "samples"
CHATS: dict[str, list[tuple[str, str | None]]] = {
    "delivery": [
        ("Hi, could you tell me when my parcel will arrive?", None),
        ("That was last week. It is still not here, I am getting annoyed.", None),
        ("This is the worst service I have ever had 😡 I want my money back!", "clock.jpg"),
    ],
    "thanks": [
        ("My coffee machine was broken and I was so upset 😢", None),
        ("The new one came today, wonderful! Thank you so much for the quick help ❤️", "espresso.jpg"),
    ],
    "question": [
        ("Which tripod fits this camera?", "photographer.jpg"),
        ("And is it in the shop on Tuesday?", None),
    ],
    "smile": [
        ("Here is the photo for my badge.", "astronaut.jpg"),
        ("I am so sad and angry that you cancelled my visit, I cried all day 😢", "astronaut.jpg"),
    ],
}
OPPOSED = {"negative", "positive"}
ESCALATE = 0.6
FADES = 0.5
"""How much a message counts beside the one after it."""


@dataclass(frozen=True)
class Chat:
    """One conversation as it stands: P(negative) message by message, and now."""

    name: str
    course: tuple[float, ...]
    now: float
    opposed: tuple[int, ...]

    @property
    def escalates(self) -> bool:
        """Whether a person should take over."""
        return self.now >= ESCALATE


def follow(chats: dict[str, list[tuple[str, str | None]]]) -> list[Chat]:
    """All conversations, the most urgent first."""
    analyzer, found = Analyzer.from_pretrained(), []
    for name, messages in chats.items():
        posts = [Sample(text=text, image=None if picture is None else SAMPLES / picture) for text, picture in messages]
        answers = analyzer.analyze_batch(posts, explain="none")
        # The customer's words decide; a picture of a broken thing is not a broken customer.
        course = [(a.text_sentiment or a.sentiment).probabilities["negative"] for a in answers]
        now, weight = 0.0, 0.0
        for p in course:
            now, weight = FADES * now + p, FADES * weight + 1
        opposed = [
            n
            for n, a in enumerate(answers, 1)
            if a.text_sentiment and a.image_sentiment and {a.text_sentiment.label, a.image_sentiment.label} == OPPOSED
        ]
        found.append(Chat(name, tuple(course), now / weight, tuple(opposed)))
    return sorted(found, key=lambda chat: -chat.now)


def main() -> None:
    """Print the escalation list."""
    console = Console(highlight=False)
    for chat in follow(CHATS):
        course = " → ".join(f"{p:.2f}" for p in chat.course)
        marks = [
            *(["ESCALATE"] if chat.escalates else []),
            *(f"message {n}: words against picture" for n in chat.opposed),
        ]
        console.print(f"{chat.now:.2f}  {chat.name}: {course}  {'; '.join(marks)}", soft_wrap=True)


if __name__ == "__main__":
    main()
