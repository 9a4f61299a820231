"""A version goes from one studio to an object store and from there to another studio, by commands alone."""

import json

import pytest

from studio.paths import workspace
from tests.e2e.luthier import luthier_here
from tests.e2e.server import Server, end_everything
from tests.object_store import ObjectStore

pytestmark = pytest.mark.slow
ROWS = [{"prompt": f"Question {n}?", "completion": f"答案 {n}", "topic": n} for n in range(20)]


def test_one_studio_pushes_and_another_pulls(tmp_path):
    (tmp_path / "shop.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    with ObjectStore() as store:
        remote, places = f"s3://{store.bucket}/team", [workspace(tmp_path / each).make() for each in ("a", "b")]
        servers = [Server(place, **store.environment).start() for place in places]
        try:
            here, there = places
            imported = done(here, "import", tmp_path / "shop.jsonl")
            pushed = done(here, "push", "shop", remote)
            assert pushed["md5"].endswith(".dir") and "team/luthier/shop/v1.dvc" in store.keys("team/luthier/")
            pulled = done(there, "pull", remote, "shop", "--into", "bought")
            assert (pulled["rows"], pulled["content_hash"]) == (20, imported["content_hash"])
            assert done(there, "rows", "bought")["rows"] == done(here, "rows", "shop")["rows"]
            gone = luthier_here(there, "data", "pull", remote, "shops")
            assert gone.code == 2 and "There are: shop" in gone.err
        finally:
            for server, place in zip(servers, places, strict=True):
                server.stop()
                end_everything(place)


def done(place, *arguments):
    ran = luthier_here(place, "data", *arguments, "--json")
    assert ran.code == 0, ran.err
    return ran.document
