"""Code that lies in data does nothing: pickles, loading scripts, YAML tags, under any name and in archives."""

import pickle
import zipfile

import pytest

from studio.errors import RefusedInput
from studio.workshop.reading.opening import open_source
from studio.workshop.versions.build import import_file
from tests.security.evil import Bomb

NAMES = ("data.pkl", "data.jsonl", "data.json", "data.csv", "data.parquet", "data.xlsx", "data.txt", "data.gz")
SCRIPT = "import datasets, pathlib\npathlib.Path({mark!r}).touch()\nclass Data(datasets.GeneratorBasedBuilder): ...\n"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_refused_or_read_as_text(tmp_path, name, protocol):
    mark, path = tmp_path / "ran", tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(mark), protocol=protocol))
    try:
        list(open_source(path).rows())
    except RefusedInput as refused:
        assert refused.message("en")
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists(), "whoever unpickles it runs it"


def test_a_loading_script_beside_the_rows_is_text_or_left_out(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.py", SCRIPT.format(mark=str(mark)))
        archive.writestr("data.jsonl", '{"prompt": "Hi", "completion": "__import__(\'os\').abort()"}\n')
        archive.writestr("data.yaml", f"!!python/object/apply:pathlib.Path.touch [{mark}]\n")
    made = import_file(path, tmp_path / "v")
    assert made.rows == 1 and not mark.exists()
