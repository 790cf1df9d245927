"""Emoji, emoticons and kaomoji → the words a tower reads for them. Knows nothing of models.

Unicode names what an emoji shows ("face with steam from nose"); people use it for what it feels ("angry, fed up").
`FEELINGS` says so for the emoji whose name misleads; all others keep their CLDR name, from the package `emoji`, so what
is read does not depend on the Unicode tables of the running Python.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

__all__ = ["EMOJI_BLOCKS", "FEELINGS", "face_spans", "is_pictograph", "name_emoji", "name_faces"]

EMOJI_BLOCKS = (range(0x1F000, 0x1FB00), range(0x2600, 0x27C0), range(0x2B00, 0x2C00))
"""Where Unicode keeps pictographs; characters newer than the running Python lie here too."""


def _table(lines: str) -> dict[str, str]:
    pairs = (line.split(None, 1) for line in lines.strip().splitlines())
    return {character: words for group, words in pairs for character in group.split("|")}


FEELINGS: Mapping[str, str] = MappingProxyType(
    _table(
        """
        😀|😃|😄|😁 happy smiling face
        😆 laughing face
        😅 relieved laughing face
        😂 laughing with tears of joy
        🤣 rolling on the floor laughing
        🙂|☺|😊 warm smiling face
        🙃 ironic upside-down smile
        😉 winking face
        😇 angelic smiling face
        🥰 in love smiling face with hearts
        😍 in love heart eyes
        🤩 amazed star eyes
        😘|😗|😚|😙 loving kiss
        😋|🤤 delicious yummy face
        😛|😜|😝|🤪 playful silly face
        🤗 warm hug
        🤭 giggling face
        🤔 thinking face
        🤐 zipped mouth
        🤨 doubtful face
        😐|😑|😶 blank unimpressed face
        😏 smirking face
        😒 annoyed unimpressed face
        🙄 annoyed rolling eyes
        😬 awkward grimace
        🤥 lying face
        😌 relieved content face
        😔 sad pensive face
        😪|😴 sleepy face
        😷 sick face with mask
        🤒|🤕 sick hurt face
        🤢 disgusted nauseated face
        🤮 disgusted vomiting
        🤧 sick sneezing face
        🥵 overheated exhausted face
        🥶 freezing face
        🥴 dizzy woozy face
        😵 knocked out dizzy
        🤯 mind blown
        🥳 celebrating party face
        😎 cool sunglasses
        🤓 nerdy face
        😕|🫤 confused unhappy face
        😟 worried face
        🙁|☹ sad frowning face
        😮|😯|😲 surprised face
        😳 embarrassed flushed face
        🥺 pleading touched face
        🥹 touched holding back tears
        🥲 smiling through tears
        😦|😧 dismayed face
        😨|😰|😱 scared horrified face
        😥 sad let down
        😢 sad crying
        😭 crying out loud
        😖|😣 suffering upset face
        😞 disappointed sad face
        😓 stressed in a cold sweat
        😩 tired fed up face
        😫 exhausted fed up face
        🥱 bored yawning face
        😤 angry fed up huffing
        😡 angry furious face
        😠 angry face
        🤬 furious swearing
        😈 mischievous devil smile
        👿 angry devil
        💀|☠ skull dead
        💩 crap
        🤡 clown what a joke
        👻 playful ghost
        👽|👾|🤖 alien robot
        😺|😸 happy smiling cat
        😹 laughing cat
        😻 in love cat with heart eyes
        😼 smirking cat
        😿 sad crying cat
        😾 grumpy angry cat
        🙈|🙉|🙊 embarrassed monkey
        💋 kiss
        💌 love letter
        💘|💝|💖|💗|💓|💞|💕|💟 love hearts
        ❣|❤|♥|🧡|💛|💚|💙|💜|🩷|🩵|🤍|🤎 love heart
        🖤|🩶 dark heart
        ❤‍🔥 burning love
        ❤‍🩹 healing heart
        💔 broken heart
        💯 hundred percent perfect
        💢 angry
        💥 boom
        💫|✨ sparkling lovely
        🌟|⭐ star
        🔥 fire awesome
        💪 strong strength
        👋 waving hello
        🤙 cool call me
        👌 perfect ok hand
        🤌 chef's kiss
        🤏 tiny
        ✌ peace victory
        🤞 fingers crossed hoping
        🤘 rock on
        🖕 middle finger insult
        👍 thumbs up good
        👎 thumbs down bad
        ✊|👊 fist bump
        👏 clapping bravo
        🙌 hooray raised hands
        🫶 heart hands love
        🤝 handshake deal
        🙏 praying thankful hands
        🤦 facepalm
        🤷 shrug
        💃|🕺 joyful dancing
        🎉|🎊 party celebration
        🥂|🍾|🍻 cheers celebration
        🏆|🥇|🏅 winner
        🎁 gift
        🎂 birthday cake
        😻 in love
        🫠 melting embarrassed
        🫡 salute respect
        🫣 peeking scared
        🫢 shocked hand over mouth
        😶‍🌫 lost in fog
        😮‍💨 sighing exhausted
        😵‍💫 dizzy overwhelmed
        ✅|☑|✔ check mark done
        ❌|✖ cross mark no
        ❗|❕|‼ !
        ❓|❔|⁉ ?
        🚩 red flag warning
        ⚠ warning
        🚫|⛔ forbidden
        ☀|🌞 sunshine
        🌈 rainbow
        🐐 greatest of all time
        🗑|🚮 trash
        🤑 greedy money face
        💤 asleep
        ⚰|🪦 death
        """
    )
)
"""What people mean by an emoji; keys without variation selectors and skin tones."""

# What is joined to an emoji and says nothing of its own: variation selectors, skin tones, female and male signs.
_TRIMMINGS = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]|\u200d[\u2640\u2642]")
_PICTOGRAPH = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_EMOJI = re.compile(f"(?P<flag>[\U0001f1e6-\U0001f1ff]{{2}})|[0-9#*]\u20e3|{_PICTOGRAPH}(?:\u200d{_PICTOGRAPH}){{0,5}}")

_IS_PICTOGRAPH = re.compile(_PICTOGRAPH)

# Faces made of marks, the more telling first: `>:(` before `:(`.
_FACES: tuple[tuple[str, str], ...] = (
    (r"[(（][╯ノ][^()（）]{1,6}[)）][╯ノ]?\s*[︵彡~]?\s*┻?━*┻?|┻━{1,5}┻", "angry flipping the table"),
    (r"[¯⎺‾]\\?_?\(ツ\)_?/?[¯⎺‾]?|ʅ\(ツ\)ʃ", "shrug"),
    (r"ಠ益ಠ|눈益눈|ᕙ\([^()]{2,6}\)ᕗ|[>＞][_.﹏︿]{0,4}[<＜]", "angry frustrated face"),
    (r"ಠ_{1,4}ಠ|¬_{1,4}¬|-_{1,4}-|￣[ー︿]￣|눈_눈", "annoyed face"),
    (r"[;；][_.\-]{1,4}[;；]|ಥ[^\s()]{1,3}ಥ|╥[^\s()]{1,3}╥|Ｔ[_.]{0,3}Ｔ|｡ﾟ[^\s]{2,8}ﾟ｡", "sad crying"),
    (r"[♡♥][‿_ωᴗ.,]{1,2}[♡♥]", "in love heart eyes"),
    (r"°[_.]°", "confused surprised face"),
    (
        r"[\^＾][_.oO▽ωヮ∀w\-]{0,3}[\^＾]|[•◕ᵔ◠ᴗˊ´ಡ◉・｡￣][‿ᴗω∀▽ᴥ◡ヮᗜ]{1,2}[•◕ᵔ◠ᴗˋ`｀ಡ◉・｡￣]"
        r"|\\\(?\^?o\^?\)?/|ʕ[^\sʔ]{2,5}ʔ|꒰[^\s]{2,6}꒱",
        "happy face",
    ),
    (r"</3", "broken heart"),
    (r"<3{1,4}(?!\d)", "love heart"),
    (r">:[-^o]?[(\[|/]", "angry face"),
    (r"[:=]['’]-?\)", "happy tears"),
    (r"[:=]['’]-?[(\[]|;-?\(", "sad crying"),
    (r"(?<![\w)])[:=][-^o]?D{1,5}(?!\w)", "laughing face"),
    (r"(?<!\d);[-^o]?[)\]]", "winking face"),
    (r"(?<!\d)[:=][-^o]?[)\]]{1,9}|(?<!\S)\(-?[:=](?!\w)", "happy smiling face"),
    (r"(?<!\d)[:=][-^o]?[(\[]{1,9}|(?<!\S)\)-?[:=](?!\w)", "sad frowning face"),
    (r"(?<![\w)])[:=;][-^o]?[pPþb](?!\w)", "playful face"),
    (r"(?<![\w)])[:=][-^o]?\*(?!\w)", "kiss"),
    (r"(?<![\w)])[:=][-^o]?[/\\](?![\w/])", "doubtful displeased face"),
    (r"(?<![\w)])[:=][-^o]?[|](?!\w)", "blank face"),
    (r"(?<![\w)])[:=][-^]?[oO0](?!\w)", "surprised face"),
)
# Faces that begin with a letter; they stand alone.
_LETTER_FACES: tuple[tuple[str, str], ...] = (
    (r"T[_.\-^]{0,3}T|ToT|Q_{0,2}Q|[uU]_[uU]", "sad crying"),
    (r"[oO0][_.][oO0]", "confused surprised face"),
    (r"[xX]D{1,5}|8-?D{1,5}", "laughing face"),
    (r"D:", "dismayed face"),
)


def _alternatives(table: tuple[tuple[str, str], ...], prefix: str) -> str:
    return "|".join(f"(?P<{prefix}{i}>{pattern})" for i, (pattern, _) in enumerate(table))


_FACE_NAMES = {
    f"{prefix}{i}": words
    for prefix, table in (("face", _FACES), ("letter", _LETTER_FACES))
    for i, (_, words) in enumerate(table)
}
# What a face may begin with, so that most characters are passed over at once.
_FACE = re.compile(
    rf"(?=[(（)┻¯⎺‾ʅಠ¬\-눈;；ಥ╥Ｔ｡♡♥>＞ᕙ°\^＾•◕ᵔ◠ᴗˊ´ಡ◉・￣\\ʕ꒰<:=])(?:{_alternatives(_FACES, 'face')})"
    rf"|(?<!\w)(?=[TQuUoO0xX8D])(?:{_alternatives(_LETTER_FACES, 'letter')})(?!\w)"
)
_EYES_BEHIND_DIGIT = re.compile(r"\d(?=[:;=])")
# Hands, cheeks and brackets around a face: what is left of a kaomoji when its face has been named.
_ARMS = re.compile(r"[\\ヽ٩ᕕ＼o(（<~*ノﾉ☆.:`´'ლʕ]{0,4}\x00([^\x00]+)\x00[)）*ノﾉ/۶ᕗ~`´'☆.:ლʔ;ヽ]{0,4}")


def is_pictograph(character: str) -> bool:
    """Whether it is an emoji, or a sign such as © that is read as one."""
    return _IS_PICTOGRAPH.match(character) is not None


def face_spans(text: str) -> list[tuple[int, int]]:
    """Where emoticons and kaomoji stand, also right behind a digit, where they are read once the digit is hidden."""
    return [match.span() for match in _FACE.finditer(_EYES_BEHIND_DIGIT.sub(" ", text))]


def name_faces(text: str) -> str:
    """The text with emoticons and kaomoji replaced by what they feel, in spaces."""
    marked = _FACE.sub(lambda match: f"\0{_FACE_NAMES[match.lastgroup or '']}\0", text)
    return text if marked == text else _ARMS.sub(r" \1 ", marked).replace("\0", " ")


def name_emoji(text: str) -> str:
    """The text with emoji replaced by their words, in spaces; of a run of equal ones two are kept.

    Sequences that no table knows are read part by part, and pictographs younger than the tables as "emoji".
    """
    text = _TRIMMINGS.sub("", text)
    named, position, last, run = [], 0, "", 0
    for match in _EMOJI.finditer(text):
        between, words = text[position : match.start()], _words(match[0])
        run = run + 1 if words == last and not between.strip() else 1
        named += [between, words if words == match[0] else f" {words} " if run <= 2 else " "]
        position, last = match.end(), words
    return "".join([*named, text[position:]])


@lru_cache(1024)
def _words(emoji: str) -> str:
    """What an emoji feels, its CLDR name, or itself where it is a symbol that is no emoji."""
    from emoji import EMOJI_DATA  # its table takes 30 ms to load, and most posts need none

    if emoji in FEELINGS:
        return FEELINGS[emoji]
    if emoji in EMOJI_DATA:
        name: str = EMOJI_DATA[emoji]["en"].strip(":").replace("_", " ").replace("’", "'")
        return name.removeprefix("keycap ")
    if len(emoji) > 1:
        return " ".join(_words(part) for part in emoji if part != "\u200d")
    if any(ord(emoji) in block for block in EMOJI_BLOCKS):
        return unicodedata.name(emoji, "emoji").lower().removeprefix("black ").removeprefix("white ")
    return emoji
