"""examples/loops: every model learns in every loop, for a few epochs."""

import importlib
from pathlib import Path

import pytest

LOOPS = Path(__file__).parents[2] / "examples" / "loops"
PACKAGES = {
    "plain_pytorch": "torch",
    "with_lightning": "pytorch_lightning",
    "with_accelerate": "accelerate",
    "with_skorch": "skorch",
}


@pytest.mark.filterwarnings("ignore")  # of packages that are not ours
@pytest.mark.parametrize("model", ["expect", "sample", "mixture", "layer"])
@pytest.mark.parametrize("loop", PACKAGES)
def test_every_model_learns_in_every_loop(loop, model, monkeypatch, capsys, tmp_path):
    pytest.importorskip(PACKAGES[loop], reason=f"{PACKAGES[loop]} is not installed: pip install -e '.[examples]'")
    monkeypatch.syspath_prepend(LOOPS)
    monkeypatch.chdir(tmp_path)
    found = importlib.import_module(loop).main(["--model", model, "--epochs", "2"])
    assert found > 0.7  # 0.1 is where they begin, 0.83 the least that was seen
    assert f"{model}: test accuracy {found:.3f}" in capsys.readouterr().out


def test_every_loop_is_run():
    scripts = {path.stem for path in LOOPS.glob("*.py")}
    assert scripts == {*PACKAGES, "own_models"}
