import json

import pytest

from gatewise.cli import main


class Result:
    """What a command line did: its status and what it printed."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def gatewise(capsys):
    """Run a command line in this process."""

    def run(*words):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Result(stopped.value.code or 0, out, err)

    return run


QUICK = ["--epochs", "3", "--experts", "3", "--set", "expert_hidden=[8]"]


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A CSV as people have them: spaces, a missing value, a category, labels that look like numbers."""
    path = tmp_path_factory.mktemp("data") / "shop.csv"
    grades = ["0012", "N", " None"]
    rows = [
        f"{i % 7}.5, {'?' if i % 11 == 0 else i * 3 % 17}, {'red' if i % 3 else 'blue'},{grades[i % 3]}"
        for i in range(90)
    ]
    path.write_text("weight, size,colour, grade\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, table):
    """A trained run of that table."""
    folder = tmp_path_factory.mktemp("runs") / "shop"
    with pytest.raises(SystemExit) as stopped:
        main(["train", str(table), "--target", "grade", "--out", str(folder), *QUICK])
    assert not stopped.value.code
    return folder
