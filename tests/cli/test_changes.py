"""`evaluate` says what is not as it was in training."""

import json
import shutil


def test_evaluate_says_what_has_changed(gatewise, run_folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    assert "not as it was" not in gatewise("evaluate", run, "--json").err
    path = run / "environment.json"
    there = json.loads(path.read_text())
    path.write_text(json.dumps(there | {"threads": 99, "packages": there["packages"] | {"torch": "1.0"}}))
    done = gatewise("evaluate", run, "--json")
    assert done.json["rows"] > 0
    (line,) = done.err.splitlines()
    assert line.startswith("not as it was in training: threads 1, then 99; torch ")
    assert line.endswith(", then 1.0")
