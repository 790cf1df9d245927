"""Bytes → damaged bytes, at random: cut, flipped, changed, doubled, spliced. Knows nothing of formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

__all__ = ["DAMAGES", "EXTREMES", "damaged"]

EXTREMES = (0, 1, 2, 255, 8_000, 16_384, 65_535, 2**17, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
"""Numbers that readers of headers stumble over."""
MOST_CHANGES = 16
LONGEST_PART = 300

Damage = Callable[[bytearray, Random], bytearray]


def cut(content: bytearray, chance: Random) -> bytearray:
    """Ends too early."""
    return content[: chance.randrange(len(content))]


def bits(content: bytearray, chance: Random) -> bytearray:
    """Some bits flipped."""
    for _ in range(chance.randint(1, MOST_CHANGES)):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return content


def head_bits(content: bytearray, chance: Random) -> bytearray:
    """Some bits of the first 200 bytes flipped: headers hold what decides how much is done."""
    for _ in range(chance.randint(1, MOST_CHANGES // 4)):
        content[chance.randrange(min(200, len(content)))] ^= 1 << chance.randrange(8)
    return content


def numbers(content: bytearray, chance: Random) -> bytearray:
    """A number of two or four bytes made extreme, anywhere or near the start."""
    size, order = chance.choice((2, 4)), chance.choice(("little", "big"))
    place = chance.randrange(min(len(content), chance.choice((64, 256, len(content)))))
    content[place : place + size] = (chance.choice(EXTREMES) % 256**size).to_bytes(
        size, "big" if order == "big" else "little"
    )
    return content


def parts(content: bytearray, chance: Random) -> bytearray:
    """Parts left out, doubled, or of random bytes."""
    for _ in range(chance.randint(1, 4)):
        place, size = chance.randrange(len(content) or 1), chance.randint(1, LONGEST_PART)
        kind = chance.randrange(3)
        if kind == 0:
            del content[place : place + size]
        elif kind == 1:
            content[place:place] = content[place : place + size] * chance.randint(1, 20)
        else:
            content[place : place + size] = chance.randbytes(size)
    return content


DAMAGES: Mapping[str, Damage] = {"cut": cut, "bits": bits, "head bits": head_bits, "numbers": numbers, "parts": parts}


def damaged(content: bytes, chance: Random, name: str | None = None) -> bytes:
    """The bytes with one kind of damage, a random one unless it is named."""
    return bytes(DAMAGES[name or chance.choice(list(DAMAGES))](bytearray(content or b"\0"), chance))
