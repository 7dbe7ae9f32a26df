"""A real browser shows the page."""

import shutil
import subprocess
from pathlib import Path

import pytest

from gatewise.reporting import render
from gatewise.reporting.audit import render_audit
from tests.reporting.audit.test_page import audit
from tests.reporting.runs import make_history, make_summary, make_values

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=390,900",
)  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not on PATH")


def chromium(profile: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(make_summary(), make_history()), encoding="utf-8")
    return path.as_uri()


def test_the_browser_sees_the_whole_page(page, tmp_path):
    done = chromium(tmp_path / "profile", "--dump-dom", page)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<svg") == 9
    assert "This page loads nothing." in done.stdout


def test_the_browser_takes_its_picture(page, tmp_path):
    picture = tmp_path / "page.png"
    done = chromium(tmp_path / "profile", f"--screenshot={picture}", page)
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_page_and_the_console_is_empty(tmp_path, width):
    summary = make_summary(warnings=["word" * 200])
    summary["data"] |= {"name": "n" * 300, "classes": [f"{'long name ' * 9}{label}" for label in range(10)]}
    summary["typical"] = make_values(8)
    summary["typical"]["experts"][0]["values"][0] |= {"column": "c" * 300}
    (tmp_path / "report.html").write_text(render(summary, make_history()), encoding="utf-8")
    # a script in a page around it measures it, as the page itself runs none
    (tmp_path / "around.html").write_text(
        f"""<iframe id="page" src="report.html" style="width: {width}px; height: 900px"></iframe><script>
        onload = () => document.title = document.getElementById("page").contentDocument.documentElement.scrollWidth
        </script>""",
        encoding="utf-8",
    )
    around = (tmp_path / "around.html").as_uri()
    done = chromium(
        tmp_path / "profile", "--enable-logging=stderr", "--allow-file-access-from-files", "--dump-dom", around
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    assert int(done.stdout.split("<title>")[1].split("<")[0]) <= width


def test_the_page_of_an_audit_opens_without_an_error_in_the_console(tmp_path):
    path = tmp_path / "audit.html"
    path.write_text(render_audit(audit()), encoding="utf-8")
    done = chromium(tmp_path / "profile", "--enable-logging=stderr", "--dump-dom", path.as_uri())
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<svg") == 3
    assert "CONSOLE" not in done.stderr, done.stderr


def test_an_error_in_the_console_would_be_seen(tmp_path):
    path = tmp_path / "wrong.html"
    path.write_text("<script>console.error('wrong')</script>", encoding="utf-8")
    done = chromium(tmp_path / "profile", "--enable-logging=stderr", "--dump-dom", path.as_uri())
    assert "CONSOLE" in done.stderr
