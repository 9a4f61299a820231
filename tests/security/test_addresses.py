"""Addresses that a person may write: nobody on this machine or its network is called, no secret is kept."""

import pytest

from studio import addresses
from studio.addresses import ALLOWED, are_public, require_public
from studio.errors import RefusedInput
from studio.workshop.versions import remote as remotes
from studio.workshop.versions.remote import check_remote
from tests.e2e.server import Server

PRIVATE = (
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "192.0.2.7",
    "::1",
    "::",
    "fe80::1%eth0",
    "fc00::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "ff02::1",
)
SPELLINGS = ("localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "localhost.", "LOCALHOST")


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_known(address):
    assert not are_public([address])
    assert not are_public(["93.184.216.34", address]), "one private address among public ones is enough"


def test_public_addresses_are_known():
    assert are_public(["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])


@pytest.mark.parametrize("host", SPELLINGS)
def test_every_way_to_write_this_machine_is_refused(host):
    with pytest.raises(RefusedInput) as caught:
        require_public(host.strip("[]"), what=f"sftp://{host}/x")
    assert caught.value.code in ("address.private", "address.unknown")


def test_whoever_starts_the_studio_names_exceptions(monkeypatch):
    monkeypatch.setenv(ALLOWED, "nas.lan, 10.0.0.5")
    require_public("10.0.0.5", what="x")
    require_public("NAS.lan", what="x")
    with pytest.raises(RefusedInput):
        require_public("10.0.0.6", what="x")


@pytest.mark.parametrize(
    ("remote", "called"),
    [
        ("sftp://me@files.example.org:2222/data", "sftp://me@93.184.216.34:2222/data"),
        ("ssh://files.example.org/data/x", "ssh://93.184.216.34/data/x"),
    ],
)
def test_a_name_server_that_answers_otherwise_the_second_time_leads_nowhere(monkeypatch, remote, called):
    """First a public address, then this machine's, as in DNS rebinding: what is called is what was checked."""
    answers = iter([["93.184.216.34"], ["93.184.216.34"], ["127.0.0.1"], ["127.0.0.1"]])
    monkeypatch.setattr(addresses, "_addresses_of", lambda host: next(answers))
    monkeypatch.setattr(remotes.importlib.util, "find_spec", lambda name: True)
    opened = []
    monkeypatch.setattr(remotes, "_opened", lambda address, protocol: opened.append(address) or (None, "/"))
    remotes._Store(remote)
    assert opened == [called]
    with pytest.raises(RefusedInput):
        remotes._Store(remote)


@pytest.mark.parametrize(
    ("remote", "code"),
    [
        ("s3://key:secret@bucket/x", "data.remote.password"),
        ("s3://key@bucket/x", "data.remote.password"),
        ("sftp://user:secret@93.184.216.34/x", "data.remote.password"),
        ("s3://bucket/x?endpoint_override=TRAP&scheme=http", "data.remote.settings"),
        ("s3://bucket/x?access_key=a&secret_key=b", "data.remote.settings"),
        ("s3://bucket/x#endpoint_override=TRAP", "data.remote.settings"),
        ("webhdfs://TRAP/x", "address.private"),
        ("webhdfs://93.184.216.34:80/x", "address.private"),
        ("hdfs://TRAP/x", "address.private"),
        ("sftp://TRAP/x", None),
        ("ssh://localhost/x", None),
        ("http://TRAP/x", "data.remote.kind"),
        ("https://TRAP/x", "data.remote.kind"),
        ("ftp://TRAP/x", "data.remote.kind"),
        ("simplecache::webhdfs://TRAP/x", "data.remote.kind"),
        ("file://a::webhdfs://TRAP/x", "data.remote.kind"),
        ("WEBHDFS://TRAP/x", "data.remote.kind"),
        ("reference://TRAP", "data.remote.kind"),
        ("github://a:b@x", "data.remote.kind"),
    ],
)
def test_a_remote_calls_nobody_here_and_keeps_no_secret(server: Server, trap, remote, code):
    """Through the server, as the Versions tab and the command do; refused before a job holds the address."""
    address = remote.replace("TRAP", trap.url.removeprefix("http://"))
    for verb, arguments in (("pull_dataset", {"name": "x"}), ("push_dataset", {"name": "x"})):
        with pytest.raises(RefusedInput) as caught:
            server.do(verb, remote=address, **arguments)
        # sftp needs a package that is not here; where it is, the host is looked at
        assert (
            caught.value.code == code
            or code is None
            and caught.value.code in ("data.remote.package", "address.private")
        )
        assert "secret" not in caught.value.message("en") or code != "data.remote.password"
    assert trap.calls == []


def test_usual_remotes_are_taken(tmp_path):
    for remote in (str(tmp_path), f"file://{tmp_path}", "s3://bucket/path", "s3://bucket/path?region=eu-west-1"):
        assert check_remote(remote) in ("file", "s3")
