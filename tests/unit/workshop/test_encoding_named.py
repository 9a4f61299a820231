"""Encodings that a person names, and Chinese words among English ones, which are too few to guess by frequency."""

import json
from pathlib import Path

import pytest

from studio.errors import RefusedInput
from studio.workshop.converting.detect import preview
from studio.workshop.reading.encoding import detect_encoding, named_encoding
from studio.workshop.reading.opening import open_source
from studio.workshop.versions.build import import_file
from studio.workshop.versions.reader import read_manifest, read_rows


def line(prompt: str, completion: str) -> str:
    return json.dumps({"prompt": prompt, "completion": completion}, ensure_ascii=False) + "\n"


@pytest.mark.parametrize(
    ("said", "encoding"), [("gbk", "gbk"), ("UTF-16", "utf-16"), ("utf-16", "utf-16-be"), ("UTF8", "utf-8-sig")]
)
def test_a_named_encoding_is_taken(tmp_path: Path, said: str, encoding: str):
    text = line("Say hello", "你好") * 2
    data = text.encode("utf-16-be") if encoding == "utf-16-be" else text.encode(encoding)
    (tmp_path / "a.jsonl").write_bytes(b"\xfe\xff" + data if encoding == "utf-16-be" else data)
    import_file(tmp_path / "a.jsonl", tmp_path / "v", encoding=said)
    assert [row.completion for row in read_rows(tmp_path / "v", start=0, count=2)] == ["你好", "你好"]
    assert read_manifest(tmp_path / "v").steps[0].parameters["encoding"] == said
    assert preview(tmp_path / "a.jsonl", encoding=said).faults == []


def test_it_overrides_a_wrong_guess_also_in_an_archive(tmp_path: Path):
    import gzip

    data = line("What is it?", "Это").encode("koi8-r")
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(data))
    (row,) = open_source(tmp_path / "a.jsonl.gz", encoding="koi8-r").rows()
    assert row.value["completion"] == "Это"


@pytest.mark.parametrize("name", ["", "klingon", "rot13", "base64"])
def test_a_name_of_no_text_encoding_is_refused(name: str):
    with pytest.raises(RefusedInput) as refused:
        named_encoding(name)
    assert "gb18030" in refused.value.message("en")


@pytest.mark.parametrize("words", [("你好", "谢谢"), ("苹果，", "香蕉"), ("价格：", "元")])
def test_a_few_chinese_words_in_english_text_are_seen(words: tuple[str, str]):
    data = "".join(line("Please translate this for me", f"It says {word} here") for word in words).encode("gb18030")
    assert detect_encoding(data, is_whole=True).name == "gb18030"


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        (("Привет", "спасибо"), "cp1251"),
        (("здравствуйте", "сегодня"), "koi8-r"),
        (("안녕하세요", "감사합니다"), "euc-kr"),
        (("人工智慧", "電腦"), "big5"),
    ],
)
def test_a_few_words_of_another_script_in_english_text_are_seen(words: tuple[str, str], encoding: str):
    text = "".join(line("Please translate this for me", f"It says {word} here") for word in words)
    data = text.encode(encoding)
    assert data.decode(detect_encoding(data, is_whole=True).name) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("Él dijo: ¿Él? ¡Ándale! ¿Está aquí?", "cp1252"), ("Größe, Öl, Ärger", "cp1252"), ("Привет, как дела?", "cp1251")],
)
def test_other_scripts_are_not_taken_for_chinese(text: str, encoding: str):
    assert detect_encoding(line("Say it", text).encode(encoding), is_whole=True).name != "gb18030"


def test_a_version_says_which_encoding_was_only_guessed(tmp_path: Path):
    data = line("Wie geht es?", "Schön, danke! Größere Äpfel").encode("cp1252")
    (tmp_path / "a.jsonl").write_bytes(data)
    import_file(tmp_path / "a.jsonl", tmp_path / "guessed")
    import_file(tmp_path / "a.jsonl", tmp_path / "named", encoding="cp1252")
    assert read_manifest(tmp_path / "guessed").source["guessed_encoding"] == "cp1252"
    assert "guessed_encoding" not in read_manifest(tmp_path / "named").source
