"""A recorded service call: which moments should somebody hear?

    python eval/examples/service_call.py [FOLDER]

The call is made here: a face that is drawn, captions, and voices where espeak-ng is installed (silence otherwise), as
a film with a transcript beside it. FOLDER keeps both, with the page to hear the moments by.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console

import hybrid_mmsa
from hybrid_mmsa.senses import FaceReader
from hybrid_mmsa.video import Timeline, analyze_video, timeline_page

SIZE, RATE, SOUND_RATE = (480, 360), 10, 16_000
LETTERS_A_SECOND = 15
Mood = Literal["glad", "calm", "angry", "smiling"]
"""`smiling` is a photograph, whose face is found; faces that are drawn are not."""
PHOTO = Path(hybrid_mmsa.__file__).parent / "samples" / "astronaut.jpg"


@dataclass(frozen=True)
class Line:
    """What one of the two says, how the customer's face looks meanwhile, and how long after the other it begins."""

    who: Literal["agent", "customer"]
    text: str
    mood: Mood = "calm"
    after: float = 0.4


CALL = (
    Line("agent", "This is the service line, Anna speaking."),
    Line("customer", "I ordered a kettle three weeks ago."),
    Line("customer", "It came broken, and I am really angry about it!", "smiling"),
    Line("agent", "I see. Which number does the order have?"),
    Line("customer", "Four seven one one. I have told you that twice, this is the worst service ever!", "angry", -0.9),
    Line("agent", "Please hold the line while I look."),
    Line("agent", "A new one leaves our house today, and you get your money back.", after=4.5),
    Line("customer", "Oh wonderful, thank you so much, that is great!", "glad"),
)


def voice(line: Line, folder: Path) -> NDArray[np.float32]:
    """A line as it sounds, at `SOUND_RATE`; silence of its length without espeak-ng."""
    program = shutil.which("espeak-ng")
    if program is None:
        return np.zeros(int(SOUND_RATE * len(line.text) / LETTERS_A_SECOND), np.float32)
    pitch = "35" if line.who == "agent" else "65"
    subprocess.run([program, "-v", "en", "-p", pitch, "-w", folder / "line.wav", line.text], check=True)
    with av.open(str(folder / "line.wav")) as sound:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=SOUND_RATE)
        parts = [part.to_ndarray()[0] for frame in sound.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate(parts).astype(np.float32)


def picture(mood: Mood, caption: str) -> Image.Image:
    """The customer as the camera shows them, and the caption."""
    wall = {"glad": "#f3e7c4", "calm": "#d9dde2", "angry": "#c9c4c4", "smiling": "#222222"}[mood]
    image = Image.new("RGB", SIZE, wall)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 310, *SIZE), fill="#101418")
    draw.text((12, 326), caption[:70], fill="#ffffff")
    if mood == "smiling":
        image.paste(Image.open(PHOTO).resize((300, 300)), (90, 5))
        return image
    draw.ellipse((150, 40, 330, 240), fill="#e8b98f", outline="#5a4030", width=3)
    for x in (200, 262):
        draw.ellipse((x, 110, x + 18, 128), fill="#222222")
    mouths = {
        "glad": (190, 130, 290, 205, 20, 160),
        "calm": (200, 170, 280, 190, 0, 180),
        "angry": (195, 180, 285, 230, 200, 340),
    }
    left, top, right, bottom, start, end = mouths[mood]
    draw.arc((left, top, right, bottom), start, end, fill="#702020", width=5)
    if mood == "angry":
        draw.line((190, 92, 222, 106), fill="#222222", width=5)
        draw.line((290, 92, 258, 106), fill="#222222", width=5)
    return image


def make(folder: Path) -> tuple[Path, Path]:
    """The film and its transcript."""
    voices = [voice(line, folder) for line in CALL]
    starts, now = [], 0.5
    for line, sound in zip(CALL, voices, strict=True):
        starts.append(max(now + line.after, 0.0))
        now = starts[-1] + len(sound) / SOUND_RATE
    both = np.zeros((2, int(SOUND_RATE * (now + 1))), np.float32)  # the agent left, the customer right
    said: list[dict[str, Any]] = []
    for line, start, sound in zip(CALL, starts, voices, strict=True):
        first = int(start * SOUND_RATE)
        both[int(line.who == "customer"), first : first + len(sound)] += sound
        end = start + len(sound) / SOUND_RATE
        said.append({"start": round(start, 2), "end": round(end, 2), "speaker": line.who, "text": line.text})
    film, transcript = folder / "call.webm", folder / "call.json"
    transcript.write_text(json.dumps(said, indent=1), encoding="utf-8")
    write(film, [shown(time / RATE, starts) for time in range(int(RATE * (now + 1)))], both)
    return film, transcript


def shown(time: float, starts: list[float]) -> int:
    """Which line's picture is shown at a time."""
    return max([0, *(place for place, start in enumerate(starts) if start <= time)])


def write(path: Path, places: list[int], sound: NDArray[np.float32]) -> None:
    """A WebM file that browsers play."""
    pictures = [np.asarray(picture(line.mood, f"{line.who}: {line.text}")) for line in CALL]
    with av.open(str(path), "w") as out:
        film: Any = out.add_stream("libvpx", rate=RATE, width=SIZE[0], height=SIZE[1], pix_fmt="yuv420p")
        heard: Any = out.add_stream("libopus", rate=48_000, layout="stereo")
        packets = []
        for place in places:
            packets += film.encode(av.VideoFrame.from_ndarray(pictures[place], format="rgb24"))
        packets += film.encode(None)
        resampler = av.AudioResampler(format="s16", layout="stereo", rate=48_000, frame_size=960)
        samples = np.ascontiguousarray((sound.T * 32_000).astype(np.int16)).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            packets += heard.encode(part)
        packets += heard.encode(None)
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):  # what is shown with what is heard
            out.mux(packet)


def to_hear(timeline: Timeline) -> list[str]:
    """The moments, in the order of time."""
    found = [(each, moment) for moment in timeline.moments for each in moment.instances]
    lines = []
    for each, moment in sorted(found, key=lambda pair: pair[0].start):
        words = next((text for place in each.segments if (text := timeline.segments[place].text)), "")
        who = f" ({moment.role})" if moment.role else ""
        lines.append(f"{each.start:5.1f} to {each.end:4.1f} s  {moment.kind}{who}  {words}".rstrip())
    return lines


def main() -> None:
    """Make the call, and print what to hear."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        film, transcript = make(folder)
        timeline = analyze_video(film, transcript, faces=FaceReader())
        (folder / "call.html").write_text(timeline_page(timeline, film, folder / "call.html"), encoding="utf-8")
    for line in to_hear(timeline):
        console.print(line, soft_wrap=True)


if __name__ == "__main__":
    main()
