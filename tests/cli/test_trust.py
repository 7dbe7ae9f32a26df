import io
import json

import polars as pl

from gatewise.cli.console import console
from gatewise.cli.tables import classes_table


def test_the_flags_add_columns_and_leave_labels_empty(gatewise, run_folder, table):
    words = ["predict", run_folder, table, "--uncertainty", "--abstain-above", "0.9"]
    frame = pl.read_csv(io.StringIO(gatewise(*words).out), infer_schema_length=None)
    assert frame.columns[-4:] == ["entropy", "expected_entropy", "information", "abstained"]
    assert (frame["entropy"] > 0.9).equals(frame["abstained"].alias("entropy"))
    assert frame.filter("abstained")["label"].null_count() == frame["abstained"].sum() > 0


def test_evaluate_tells_the_accuracy_of_the_rows_kept(gatewise, run_folder):
    found = gatewise("evaluate", run_folder, "--json", "--calibrated").json
    assert [line["coverage"] for line in found["selective"]] == [0.5, 0.8, 0.9, 0.95, 1.0]
    assert found["selective"][-1]["accuracy"] == found["accuracy"]
    shown = gatewise("evaluate", run_folder).out
    assert "--abstain-above, nats" in shown
    summary = json.loads((run_folder / "summary.json").read_text())
    assert summary["calibration"]["top1"]["temperature"] > 0


def test_what_cannot_be_is_one_line(gatewise, run_folder, table):
    for words, said in (
        (["--calibrated", "--uncertainty"], "no such split"),
        (["--calibrated", "--route", "topk"], "only the routes mixture and top1"),
        (["--abstain-above", "-0.5"], "at least 0, got -0.5"),
        (["--abstain-above", "nan"], "at least 0, got nan"),
    ):
        refused = gatewise("predict", run_folder, table, *words)
        assert refused.status == 2
        assert said in refused.err
        assert refused.err.count("\n") == 1


def test_names_of_classes_are_shown_as_they_are(capsys):
    """The screen reads no markup, so none is escaped."""
    console().print(classes_table([{"name": "[b]x[/b]", "rows": 3, "recall": 0.5}]))
    shown = capsys.readouterr().out
    assert "[b]x[/b]" in shown
    assert "\\" not in shown
