"""`gatewise export`."""

import polars as pl
import pytest
import torch

from gatewise.runs import Run


def test_a_run_becomes_a_file_that_predicts_the_same(gatewise, run_folder, table, tmp_path):
    file, predicted = tmp_path / "shop.pt2", tmp_path / "p.csv"
    done = gatewise("export", run_folder, "-o", file, "--route", "top1")
    assert done.status == 0, done.err
    assert "float32 [batch, " in done.out
    assert "runs all 3 experts for every row and picks one" in done.out
    assert gatewise("predict", run_folder, table, "--route", "top1", "-o", predicted).status == 0
    run = Run.load(run_folder)
    answer = torch.export.load(file).module()(run.model.inputs(run.read(str(table), require_target=False)))
    columns = [f"p_{name}" for name in run.model.classes.names]
    wanted = torch.from_numpy(pl.read_csv(predicted).select(columns).to_numpy()).float()
    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-5)


def test_the_default_file_lies_in_the_run_folder_and_json_is_one_object(gatewise, run_folder):
    done = gatewise("export", run_folder, "--json")
    assert done.status == 0, done.err
    assert done.json["path"] == str(run_folder / "model-mixture.pt2")
    assert done.json["classes"] == ["0012", "N", "None"]
    assert done.json["preprocessing"]["columns"][0] == "weight"
    assert done.json["difference"] < 1e-5
    again = gatewise("export", run_folder)
    (run_folder / "model-mixture.pt2").unlink()
    assert (again.status, again.out) == (2, "")
    assert "model-mixture.pt2 is there already" in again.err


REFUSED = {
    "no such run": ("nowhere", "there is no run folder nowhere"),
    "an unknown format": ("RUN --format onx", "unknown format 'onx'; did you mean 'onnx'"),
    "an unknown ending": ("RUN -o model.txt", "unknown format 'txt'; choose one of pt2, onnx"),
    "an ending of another format": ("RUN --format onnx -o model.pt2", "name it model.onnx"),
    "a route that no graph takes": ("RUN --route topk", "export knows no route 'topk'"),
    "a folder that is not there": ("RUN -o none/model.pt2", "cannot write none/model.pt2: there is no folder none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_gets_one_line(gatewise, run_folder, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    words, said = REFUSED[case]
    done = gatewise("export", *(run_folder if word == "RUN" else word for word in words.split()))
    assert (done.status, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert said in done.err
    assert list(tmp_path.iterdir()) == []
