"""Files are whole or as they were, have the mode of those beside them, and what may not be read is said to be so."""

import os
import stat
import subprocess
import sys

import pytest

from gatewise.errors import GatewiseError
from gatewise.files import (
    check_output,
    check_regular,
    named_after,
    remove_parts,
    replacing,
    unreadable,
    write_text,
)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_new_file_has_the_mode_of_the_umask_whoever_writes_it(tmp_path, umask):
    with replacing(tmp_path / "a") as part:
        part.unlink()
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))  # as writers do that make a temporary file themselves
    assert mode(tmp_path / "a") == 0o666 & ~umask


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path):
    path = tmp_path / "mine"
    path.write_text("old")
    path.chmod(0o640)
    write_text(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o640)


@pytest.mark.parametrize("name", ["n" * 245, "ü" * 122, "n" * 255])
def test_a_name_as_long_as_the_file_system_takes_is_written(tmp_path, name):
    write_text(tmp_path / name, "x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with pytest.raises(GatewiseError, match=r"cannot write .*pipe: it is no regular file"):
        write_text(tmp_path / "pipe", "x")
    with pytest.raises(GatewiseError, match=r"cannot write .*folder: it is a folder"):
        write_text(tmp_path / "folder", "x")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path):
    (tmp_path / "mine").write_text("old")
    code = (
        "import resource, signal, sys; from pathlib import Path; from gatewise.files import write_text\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_text(Path(sys.argv[1]), 'x' * 5000)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "mine"], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith(f"GatewiseError: cannot write {tmp_path / 'mine'}: File too large")
    assert (tmp_path / "mine").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_of_what_is_read_meanwhile_is_not_said_of_what_is_written(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        (tmp_path / "nowhere").read_text()
    assert not list(tmp_path.iterdir())


def test_a_process_that_ends_at_once_removes_what_it_was_writing_and_no_other_s(tmp_path, monkeypatch):
    with replacing(tmp_path / "a") as part:
        monkeypatch.setattr("os.getpid", lambda: 1)
        remove_parts()
        assert part.exists()
        monkeypatch.undo()
        remove_parts()
        assert not part.exists()
        part.touch()


def test_a_name_that_is_not_utf_8_is_one_line(tmp_path):
    with pytest.raises(GatewiseError, match=r"cannot write .*: 'the run of caf.*udce9' is not UTF-8"):
        write_text(tmp_path / "a", "the run of caf\udce9.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("link", ["same", "symlink", "hardlink"])
def test_an_input_is_not_written_over_by_whatever_name(tmp_path, link):
    data = tmp_path / "data.csv"
    data.write_text("a\n1\n")
    output = data if link == "same" else tmp_path / "out.csv"
    if link == "symlink":
        output.symlink_to(data)
    elif link == "hardlink":
        output.hardlink_to(data)
    with pytest.raises(GatewiseError, match=r"would be written over .*data\.csv, which is read"):
        check_output(output, [data])
    check_output(tmp_path / "other.csv", [data, tmp_path / "nowhere"])
    folder = tmp_path / "parts"
    folder.mkdir()
    with pytest.raises(GatewiseError, match="which is read"):
        check_output(folder / "new.parquet", [folder])


NOBODY = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can be somebody else")


AS_NOBODY = """
import os, sys
from pathlib import Path
from gatewise.files import check_regular, is_folder, read_json
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
folder = Path(sys.argv[1])
for function, name in ((read_json, "secret.json"), (check_regular, "closed/file"), (is_folder, "closed/run")):
    try:
        function(folder / name)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""


@NOBODY
def test_what_may_not_be_read_is_said_to_be_so_and_not_to_be_missing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("closed")
    (folder / "secret.json").write_text("{}")
    (folder / "secret.json").chmod(0)
    (folder / "closed/run").mkdir(parents=True)
    (folder / "closed").chmod(0)
    for parent in [folder, *folder.parents][:3]:
        parent.chmod(0o755)
    said = subprocess.run([sys.executable, "-c", AS_NOBODY, folder], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [
        f"GatewiseError: {folder / name} cannot be read (Permission denied); check the path and its permissions"
        for name in ("secret.json", "closed/file", "closed/run")
    ]


def test_what_is_no_file_is_said_to_be_what_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    assert "is no regular file" in unreadable(tmp_path / "pipe")
    assert "is a folder" in unreadable(tmp_path)
    assert "is a symbolic link to a file that is not there" in unreadable(tmp_path / "link")
    assert "cannot be read (Too many levels of symbolic links)" in unreadable(tmp_path / "loop")
    assert unreadable("nowhere.csv") == "nowhere.csv: no such file; check the path"
    for name in ("pipe", "link", "loop", "."):
        with pytest.raises(GatewiseError):
            check_regular(tmp_path / name)


def test_a_folder_s_name_leaves_room_for_a_number():
    assert named_after("data/shop.csv", "run") == "shop"
    assert named_after("", "run") == "run"
    assert len(os.fsencode(named_after("ü" * 120 + ".csv", "run"))) <= 200
