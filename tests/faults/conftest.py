from tests.cli.conftest import gatewise  # noqa: F401
