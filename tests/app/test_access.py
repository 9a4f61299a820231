"""Passwords, one-time codes, sessions, and wrong tries: with a clock of our own."""

import pytest

from app.access import SESSION_SECONDS, Access, TooManyTries
from app.running import checked_password, here, password_from, upload_bytes
from studio.errors import RefusedInput


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_code_is_good_for_one_browser():
    codes: list[str] = []
    access = Access(on_new_code=codes.append)
    assert access.asks_for == "code" and len(codes) == 1 and len(codes[0]) >= 32
    session = access.enter(codes[0], address="a")
    assert session and access.knows(session)
    assert access.enter(codes[0], address="a") is None
    assert len(codes) == 2 and access.enter(codes[1], address="b")


def test_sessions_end_by_leaving_and_by_time():
    clock = Clock()
    access = Access(password="spruce and maple", now=clock)
    first, second = (access.enter("spruce and maple", address="a") for _ in range(2))
    assert first and second and first != second
    access.leave(first)
    assert not access.knows(first) and access.knows(second) and not access.knows("")
    clock.now += SESSION_SECONDS + 1
    assert not access.knows(second)


def test_wrong_tries_are_slowed_by_address_and_all_together():
    clock = Clock()
    access = Access(password="spruce and maple", now=clock)
    for _ in range(5):
        assert access.enter("wrong", address="a") is None
    with pytest.raises(TooManyTries) as refused:
        access.enter("spruce and maple", address="a")
    assert 1 <= refused.value.seconds <= 61
    assert access.enter("spruce and maple", address="b"), "another person still gets in"
    for number in range(25):
        assert access.enter("wrong", address=f"many {number}") is None
    with pytest.raises(TooManyTries):
        access.enter("wrong", address="fresh")
    clock.now += 61
    assert access.enter("spruce and maple", address="a")


def test_a_browser_that_was_in_before_is_kept_out_by_nobody_else():
    clock = Clock()
    access = Access(password="spruce and maple", now=clock)
    session = access.enter("spruce and maple", address="home")
    mark = access.mark_device()
    for number in range(30):
        access.enter("wrong", address=f"many {number}")
    for _ in range(2):
        with pytest.raises(TooManyTries):
            access.enter("spruce and maple", address="home")
        with pytest.raises(TooManyTries):
            access.enter("spruce and maple", address="home", device="made up")
    assert access.knows(session), "who is in stays in"
    assert access.enter("spruce and maple", address="home", device=mark)
    for _ in range(5):
        assert access.enter("wrong", address="elsewhere", device=mark) is None
    with pytest.raises(TooManyTries):
        access.enter("spruce and maple", address="elsewhere", device=mark)


def test_the_password_is_taken_out_of_the_environment():
    environment = {"LUTHIER_PASSWORD": " long enough ", "OTHER": "1"}
    assert password_from(environment) == "long enough"
    assert environment == {"OTHER": "1"} and password_from(environment) is None
    with pytest.raises(RefusedInput, match="8"):
        checked_password("short")


def test_sizes_and_addresses_as_people_write_them():
    assert upload_bytes("20GB") == 20_000_000_000 and upload_bytes(None) is None
    assert upload_bytes("1.5 GiB") == 3 << 29
    for given in ("0GB", "many", "5", "-1GB"):
        with pytest.raises(RefusedInput, match="20GB"):
            upload_bytes(given)
    assert here("http://0.0.0.0:7860") == "http://127.0.0.1:7860"


def test_a_code_is_told_before_there_is_a_socket(monkeypatch, workspace, capsys):
    from app import main, running

    class Stopped(Exception):
        pass

    def bind(host: str, port: int) -> None:
        assert "one-time code: " in capsys.readouterr().err
        raise Stopped

    monkeypatch.setattr(main, "bind", bind)
    with pytest.raises(Stopped):
        running.run(workspace, running.Wishes(host="0.0.0.0", open_browser=False))
