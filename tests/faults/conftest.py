from tests.trainers.conftest import tiny  # noqa: F401
