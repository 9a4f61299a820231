"""A few foreign words in a file of English: letters that only one language writes tell the encoding."""

import json

import pytest

from studio.workshop.reading.encoding import detect_encoding
from studio.workshop.reading.few_words import is_turkish, kana

ENGLISH = ["How do I reset it?", 'Press "Reset" for ten seconds \\ then wait.', "Where is my parcel?", "On its way."]


def read_back(encoding: str, *words: str) -> bool:
    """Whether a file of English with these words comes out as it was."""
    rows = [{"prompt": each, "completion": f"{each} ({word})"} for each, word in zip(ENGLISH, words, strict=False)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    data = text.encode(encoding)
    return data.decode(detect_encoding(data, is_whole=True).name) == text


@pytest.mark.parametrize("encoding", ["euc-jp", "shift_jis"])
@pytest.mark.parametrize("words", [("ありがとう", "私"), ("カード", "リセット"), ("東京タワー", "また後で")])
def test_kana_tell_japanese(encoding, words):
    assert read_back(encoding, *words)


@pytest.mark.parametrize("words", [("şehir", "teşekkürler"), ("ağaç", "İstanbul"), ("ışık", "doğru")])
def test_turkish_is_told_by_its_own_letters(words):
    assert read_back("cp1254", *words)


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1252", ("þetta er það", "góðan daginn")),
        ("cp1252", ("orð", "blýantur")),
        ("cp1252", ("Grüße", "schön")),
        ("cp1252", ("très “bien”", "café")),
        ("gb18030", ("谢谢", "今天")),
        ("euc-kr", ("안녕하세요", "ㅋㅋㅋ")),
        ("cp1251", ("Спасибо", "Привет")),
    ],
)
def test_others_stay_what_they_were(encoding, words):
    assert read_back(encoding, *words)


def test_the_laughter_of_korean_chats_is_no_kana():
    assert kana([word.encode("euc-kr") for word in ("ㅋㅋㅋ", "ㅎㅎ")]) is None
    assert (
        kana([word.encode("euc-jp") for word in ("ありがとう", "ㅋㅋ".encode("euc-kr").decode("euc-jp"))]) == "euc_jp"
    )
    assert kana(["今天".encode("big5")]) is None
    assert kana([]) is None


def test_a_turkish_spelling_is_asked_for():
    assert is_turkish("bir şey değil".encode("cp1254"))
    assert not is_turkish("çok güzel".encode("cp1254")), "cp1252 reads it the same"
    assert not is_turkish("orð".encode("cp1252")), "no ğ follows a consonant"
