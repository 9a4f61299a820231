"""How often the encoding of a small file is found out: the real texts of chatterbot-corpus, in their old encodings.

    python -m tests.bench.encodings [--texts 3]

A file is a few questions and answers as JSONL; or two English ones with a foreign word each. Right means: the text
comes out as it was. Prints right / total by language and encoding, and what the wrong ones were taken for.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import Path

from studio.workshop.reading.encoding import detect_encoding

_WORD = re.compile(r"[\u4e00-\u9fff]{1,2}|\w+")
ENCODINGS = {
    "chinese": ("gb18030",),
    "traditionalchinese": ("big5",),
    "german": ("cp1252",),
    "french": ("cp1252",),
    "spanish": ("cp1252",),
    "italian": ("cp1252",),
    "portuguese": ("cp1252",),
    "russian": ("cp1251", "koi8-r"),
    "turkish": ("cp1254",),
    "swedish": ("cp1252",),
    "korean": ("euc-kr",),
    "japanese": ("euc-jp", "shift_jis"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=3)
    asked = parser.parse_args()
    english = [pair for pair in _pairs("english") if "".join(pair).isascii()]
    for language, encodings in ENCODINGS.items():
        pairs = _pairs(language)
        for encoding in encodings:
            _measure(f"{language}, {encoding}, alone", _files(pairs, asked.texts), encoding)
            _measure(f"{language}, {encoding}, in English", _quoted(pairs, english), encoding)


def _measure(name: str, texts: Iterable[str], encoding: str) -> None:
    right, total, wrong = 0, 0, Counter()
    for text in texts:
        try:
            data = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        if data.isascii():
            continue
        found = detect_encoding(data, is_whole=True)
        is_right = found is not None and data.decode(found.name, "replace") == text
        right, total = right + is_right, total + 1
        if not is_right:
            wrong[found.name if found else "none"] += 1
    print(f"{name}: {right}/{total}", dict(wrong.most_common(3)) or "")  # noqa: T201


def _files(pairs: list, texts: int) -> Iterator[str]:
    for start in range(0, len(pairs) - texts + 1, texts):
        yield "".join(map(_line, pairs[start : start + texts]))


def _quoted(pairs: list, english: list) -> Iterator[str]:
    """Two foreign words in two English rows."""
    words = [word for pair in pairs if (word := next((w for w in _WORD.findall(pair[1]) if not w.isascii()), None))]
    for (one, other), row, next_row in zip(
        zip(words, words[1:], strict=False), cycle(english), cycle(english[1:]), strict=False
    ):
        yield _line((row[0], f"{row[1]} ({one})")) + _line((next_row[0], f"{next_row[1]} ({other})"))


def _line(pair: tuple[str, str]) -> str:
    return json.dumps({"prompt": pair[0], "completion": pair[1]}, ensure_ascii=False) + "\n"


def _pairs(language: str) -> list[tuple[str, str]]:
    import chatterbot_corpus
    import yaml

    folder = Path(chatterbot_corpus.__file__).parent / "data" / language
    found = []
    for path in sorted(folder.glob("*.yml")):
        for talk in yaml.safe_load(path.read_text("utf-8")).get("conversations", []):
            texts = [str(text) for text in talk]
            found += zip(texts, texts[1:], strict=False)
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    main()
