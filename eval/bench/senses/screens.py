"""Pictures of texts, drawn: chats on a phone, cards of a network, notes, memes, windows. Knows nothing of readers.

What else such pictures show (times, names, buttons) is drawn too. Only characters that the fonts have are drawn well:
`drawable` says which texts are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

__all__ = ["FONTS", "Font", "draw_screen", "drawable", "fonts_in", "read_fonts"]

FONTS = Path("/usr/share/fonts/truetype")
"""Where Debian keeps fonts (packages `fonts-dejavu` and `fonts-liberation`)."""
FAMILIES = ("DejaVu", "Liberation")
NAMES = ("Ava", "Ben", "Chloe", "Dev", "Ella", "Femi", "Grace", "Hugo")
PHONES = ((720, 1280), (828, 1792), (1080, 2340))
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Colour = tuple[int, int, int]


def drawable(text: str) -> bool:
    """Whether the text has Latin letters and common marks alone, and is neither very short nor long."""
    return text.isascii() and text.isprintable() and 8 <= len(text) <= 220


def fonts_in(folder: Path) -> list[Path]:
    """Font files for running text; none where there is no such folder, and Pillow's own font is used."""
    files = (path for family in FAMILIES for path in folder.rglob(f"{family}*.ttf"))
    return sorted(path for path in files if "Math" not in path.name and "ExtraLight" not in path.name)


def read_fonts(paths: Sequence[Path], chance: random.Random, size: int) -> Font:
    """One of the fonts, in a size in pixels."""
    return ImageFont.truetype(str(chance.choice(paths)), size) if paths else ImageFont.load_default(size)


def draw_screen(text: str, number: int, fonts: Sequence[Path]) -> Image.Image:
    """The picture of a text; the number decides everything that is drawn by chance."""
    chance = random.Random(f"screen/{number}")
    return KINDS[number % len(KINDS)](text, chance, fonts)


def _chat(text: str, chance: random.Random, fonts: Sequence[Path]) -> Image.Image:
    """A message on a phone, under a bar of status and a name."""
    width, height = chance.choice(PHONES)
    dark = chance.random() < 0.4
    picture, draw = _sheet(width, height, (18, 18, 22) if dark else (236, 229, 221))
    unit = width // 24
    small = read_fonts(fonts, chance, int(unit * 0.9))
    ink = (240, 240, 240) if dark else (20, 20, 20)
    draw.text((unit, unit // 2), f"{chance.randint(1, 23)}:{chance.randint(10, 59)}", ink, small)
    draw.rectangle((0, 2 * unit, width, 4.5 * unit), fill=chance.choice(((7, 94, 84), (40, 60, 120), (60, 60, 66))))
    draw.text((2 * unit, 2.7 * unit), chance.choice(NAMES), (255, 255, 255), small)
    body = read_fonts(fonts, chance, int(unit * chance.uniform(1.0, 1.5)))
    lines = _wrapped(text, body, width - 7 * unit)
    step, top = int(_height(body) * 1.35), chance.randint(6 * unit, height // 2)
    bubble = (unit, top, width - 4 * unit, top + step * len(lines) + unit)
    draw.rounded_rectangle(bubble, unit // 2, fill=(38, 45, 49) if dark else (255, 255, 255))
    _write(draw, lines, (2 * unit, top + unit // 2), body, ink, step)
    return picture


def _card(text: str, chance: random.Random, fonts: Sequence[Path]) -> Image.Image:
    """A post of a network: a round portrait, a name, the text, and counts."""
    width = chance.choice((600, 900, 1200))
    unit = width // 30
    dark = chance.random() < 0.5
    body, small = read_fonts(fonts, chance, int(unit * chance.uniform(1.2, 1.7))), read_fonts(fonts, chance, unit)
    lines = _wrapped(text, body, width - 4 * unit)
    step = int(_height(body) * 1.4)
    picture, draw = _sheet(width, 9 * unit + step * len(lines), (21, 32, 43) if dark else (255, 255, 255))
    ink, faint = ((247, 249, 249), (139, 152, 165)) if dark else ((15, 20, 25), (83, 100, 113))
    draw.ellipse((2 * unit, unit, 5 * unit, 4 * unit), fill=_colour(chance))
    name = chance.choice(NAMES)
    draw.text((6 * unit, unit), name, ink, small)
    draw.text((6 * unit, 2.5 * unit), f"@{name.lower()}{chance.randint(10, 99)}", faint, small)
    _write(draw, lines, (2 * unit, 5 * unit), body, ink, step)
    counts = f"{chance.randint(2, 99)} Reposts   {chance.randint(100, 999)} Likes"
    draw.text((2 * unit, 6 * unit + step * len(lines)), counts, faint, small)
    return picture


def _note(text: str, chance: random.Random, fonts: Sequence[Path]) -> Image.Image:
    """A text in the middle of a square of one colour that fades into another."""
    side = chance.choice((640, 1080))
    first, second = _colour(chance, 60, 160), _colour(chance, 60, 160)
    picture = Image.composite(
        Image.new("RGB", (side, side), first),
        Image.new("RGB", (side, side), second),
        Image.linear_gradient("L").resize((side, side)),
    )
    body = read_fonts(fonts, chance, side // chance.randint(14, 22))
    lines = _wrapped(text, body, side - side // 6)
    step = int(_height(body) * 1.4)
    top = max((side - step * len(lines)) // 2, 0)
    _write(ImageDraw.Draw(picture), lines, (side // 12, top), body, (255, 255, 255), step)
    return picture


def _meme(text: str, chance: random.Random, fonts: Sequence[Path]) -> Image.Image:
    """Capitals with an outline at the top and the foot of something blurred."""
    side = chance.choice((500, 700))
    noise = Image.effect_noise((side // 16, side // 16), 120).resize((side, side), Image.Resampling.BICUBIC)
    tint = Image.new("RGB", (side, side), _colour(chance))
    picture = Image.blend(Image.merge("RGB", [noise] * 3).filter(ImageFilter.GaussianBlur(8)), tint, 0.4)
    bold = [path for path in fonts if "Bold" in path.name and "Mono" not in path.name] or fonts
    body = read_fonts(bold, chance, side // chance.randint(13, 18))
    lines = _wrapped(text.upper(), body, side - side // 10)
    step, draw, middle = int(_height(body) * 1.3), ImageDraw.Draw(picture), (len(lines) + 1) // 2
    edge = max(side // 250, 2)
    for part, top in ((lines[:middle], side // 30), (lines[middle:], side - side // 30 - step * (len(lines) - middle))):
        for i, line in enumerate(part):
            left = (side - body.getlength(line)) / 2
            draw.text((left, top + i * step), line, (255, 255, 255), body, stroke_width=edge, stroke_fill="black")
    return picture


def _window(text: str, chance: random.Random, fonts: Sequence[Path]) -> Image.Image:
    """A review or a mail in a window on a desk, small for the size of the picture."""
    width, height = chance.choice(((1280, 800), (1600, 900)))
    picture, draw = _sheet(width, height, _colour(chance, 40, 120))
    left, top, right = width // 8, height // 8, width - width // 5
    draw.rectangle((left, top, right, height - height // 6), fill=(250, 250, 250))
    draw.rectangle((left, top, right, top + 36), fill=(222, 225, 230))
    small, body = read_fonts(fonts, chance, 18), read_fonts(fonts, chance, chance.randint(20, 30))
    draw.text((left + 16, top + 8), chance.choice(("Inbox", "Reviews", "Notes", "Feedback")), (60, 60, 60), small)
    lines = _wrapped(text, body, right - left - 80)
    _write(draw, lines, (left + 40, top + 90), body, (30, 30, 30), int(_height(body) * 1.5))
    return picture


KINDS: tuple[Callable[[str, random.Random, Sequence[Path]], Image.Image], ...] = (_chat, _card, _note, _meme, _window)


def _sheet(width: int, height: int, colour: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (width, height), colour)
    return picture, ImageDraw.Draw(picture)


def _colour(chance: random.Random, low: int = 40, high: int = 220) -> Colour:
    return chance.randint(low, high), chance.randint(low, high), chance.randint(low, high)


def _height(font: Font) -> float:
    top, bottom = font.getbbox("Ayg")[1::2]
    return bottom - top


def _wrapped(text: str, font: Font, width: float) -> list[str]:
    """Lines no wider than `width`; a word that is longer has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _write(
    draw: ImageDraw.ImageDraw, lines: Sequence[str], place: tuple[float, float], font: Font, ink: Colour, step: int
) -> None:
    for i, line in enumerate(lines):
        draw.text((place[0], place[1] + i * step), line, ink, font)
