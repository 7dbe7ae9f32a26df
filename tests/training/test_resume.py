"""A training that was interrupted, or killed, ends as if it had not been."""

import copy
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

import gatewise as gw
from gatewise.config import LoopConfig, RunConfig
from gatewise.errors import GatewiseError
from gatewise.files import held
from gatewise.objectives import regularisers
from gatewise.runs import resume, train
from gatewise.training import Callback, fit
from gatewise.training.checkpoints.folder import MANIFEST, STATE, TENSORS, Checkpoint, Checkpoints

from .alike import assert_same, without_times

WAYS = {
    "jensen, enumeration": ("jensen", {}, {}),
    "jensen, a running mean": ("jensen", {"estimator": "score-function"}, {"accumulate": 2}),
    "jensen, a learned baseline": (
        "jensen",
        {"estimator": gw.estimators.get("score-function", baseline="learned", context_dim=6)},
        {},
    ),
    "jensen, a control variate": ("jensen", {"estimator": gw.estimators.get("relax", num_categories=4)}, {}),
    "multi-sample": ("multi-sample", {"num_samples": 2}, {"lr_schedule": "constant"}),
    "an inference network": (
        "evidence",
        {"posterior": "amortised", "num_classes": 3, "num_experts": 4, "context_dim": 6},
        {},
    ),
    "a warm start": ("jensen", {}, {"warm_start": "kmeans", "warm_start_epochs": 2}),
    "a balance bias": ("stratified", {}, {"balance_rate": 0.05}),
    "re-seeding": ("jensen", {}, {"reseed_after": 1}),
}


def blobs(rows=90):
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(3, (rows,), generator=draw)
    return torch.randn(rows, 6, generator=draw) + torch.eye(6)[y], y


class Heard(Callback):
    def __init__(self):
        self.warnings = []

    def on_warning(self, message):
        self.warnings.append(message)


def trained(way, stops=(), checkpoints=None, heard=None):
    """A mixture trained for 4 epochs of 3 steps, stopped after these steps; its weights, and what came of it."""
    name, options, keys = WAYS[way]
    torch.manual_seed(1)
    gate = gw.mixture.Gate(gw.mixture.mlp(6, [], 4), 4, balance="balance_rate" in keys)
    mixture = gw.MixtureOfExperts(gate, gw.MLPBank(4, 6, [8], 3, dropout=0.3))
    objective = gw.objectives.get(name, **copy.deepcopy(options))
    config = LoopConfig(epochs=4, batch_size=30, **keys)
    steps = iter(range(1, 100))
    result = fit(
        mixture,
        objective,
        blobs(),
        blobs(30),
        config,
        regularisers=regularisers({"load": 0.1, "importance": "linear:0.2:0"}),
        callbacks=[heard] if heard else [],
        should_stop=lambda: next(steps) in stops,
        checkpoints=checkpoints,
    )
    return mixture.state_dict() | {f"o.{k}": v for k, v in objective.state_dict().items()}, result


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", [1, 3, 5, 11])
def test_what_is_interrupted_ends_the_same_to_the_bit(way, step, tmp_path):
    expected, whole = trained(way)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    _, cut = trained(way, stops=[step], checkpoints=checkpoints)
    assert cut.stopped == "interrupted"
    heard = Heard()
    found, result = trained(way, checkpoints=checkpoints, heard=heard)
    assert_same(found, expected)
    assert without_times(result.history) == without_times(whole.history)
    assert (result.best_epoch, result.warnings, result.reseeded) == (whole.best_epoch, whole.warnings, whole.reseeded)
    # what was said of the weights that the cut left is said again of the same weights at the end
    assert set(whole.warnings) - set(cut.warnings) <= set(heard.warnings) <= set(whole.warnings)


def test_interrupted_again_and_again(tmp_path):
    expected, _ = trained("jensen, a running mean")
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for _ in range(11):
        _, cut = trained("jensen, a running mean", stops=[1], checkpoints=checkpoints)
        assert cut.stopped == "interrupted"
    assert len(list(checkpoints.folder.iterdir())) == 2
    found, _ = trained("jensen, a running mean", checkpoints=checkpoints)
    assert_same(found, expected)


def test_other_threads_are_said(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    trained("jensen, enumeration", stops=[4], checkpoints=checkpoints)
    before, heard = torch.get_num_threads(), Heard()
    torch.set_num_threads(before + 1)
    try:
        trained("jensen, enumeration", checkpoints=checkpoints, heard=heard)
    finally:
        torch.set_num_threads(before)
    assert heard.warnings[0].startswith(f"training goes on with threads {before + 1} instead of {before}")


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    trained("jensen, enumeration", stops=[4], checkpoints=checkpoints)
    with pytest.raises(GatewiseError, match="the checkpoint of step 4 is of another training"):
        trained("a balance bias", checkpoints=checkpoints)


def numbered(step):
    return Checkpoint(step, {"a.x": torch.full((3,), float(step)), "b": torch.arange(2)}, {"said": ["ü"]})


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.latest() == (None, [])
    for step in (3, 20, 100):
        checkpoints.save(numbered(step))
    found, problems = checkpoints.latest()
    assert (found.step, found.state, problems) == (100, {"said": ["ü"]}, [])
    assert torch.equal(found.tensors["a.x"], torch.full((3,), 100.0))
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-000000000020", "step-000000000100"]
    checkpoints.save(numbered(30))  # of another start, whose steps are counted anew
    assert checkpoints.latest()[0].step == 30
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-000000000020", "step-000000000030"]
    checkpoints.clear()
    assert not checkpoints.folder.exists()


def cut_short(path):
    (path / TENSORS).write_bytes((path / TENSORS).read_bytes()[:-1])


def another_byte(path):
    content = bytearray((path / TENSORS).read_bytes())
    content[-1] ^= 1
    (path / TENSORS).write_bytes(content)


def names_a_file_outside(path):
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["sha256"] = {f"../../{name}": value for name, value in manifest["sha256"].items()}
    (path / MANIFEST).write_text(json.dumps(manifest))


def a_link_out_of_it(path):
    (path / STATE).rename(path.parents[1] / STATE)
    (path / STATE).symlink_to(path.parents[1] / STATE)


def a_header_of_terabytes(path):
    (path / TENSORS).write_bytes((80 * 2**40).to_bytes(8, "little") + b"{}")
    manifest = json.loads((path / MANIFEST).read_text())
    manifest["sha256"][TENSORS] = hashlib.sha256((path / TENSORS).read_bytes()).hexdigest()
    (path / MANIFEST).write_text(json.dumps(manifest))


def a_list_for_a_manifest(path):
    (path / MANIFEST).write_text("[" * 100_000)


def no_manifest(path):
    (path / MANIFEST).unlink()


@pytest.mark.parametrize(
    "harm",
    [
        cut_short,
        another_byte,
        names_a_file_outside,
        a_link_out_of_it,
        a_header_of_terabytes,
        a_list_for_a_manifest,
        no_manifest,
    ],
)
def test_what_is_not_whole_is_said_and_the_one_before_is_taken(harm, tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(numbered(1))
    harm(checkpoints.save(numbered(2)))
    found, (said,) = checkpoints.latest()
    assert found.step == 1
    assert "step-000000000002 is not used: " in said
    assert "\n" not in said


def test_with_none_that_is_whole_it_begins_again_and_says_so(tmp_path):
    expected, _ = trained("jensen, enumeration")
    checkpoints, heard = Checkpoints(tmp_path / "c"), Heard()
    trained("jensen, enumeration", stops=[5], checkpoints=checkpoints)
    cut_short(next(checkpoints.folder.iterdir()))
    found, _ = trained("jensen, enumeration", checkpoints=checkpoints, heard=heard)
    assert_same(found, expected)
    assert heard.warnings[1] == "no checkpoint is whole: training begins again"


def test_a_full_disk_leaves_the_one_before(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(numbered(1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gatewise.training.checkpoints.folder.os.fsync", full)
    with pytest.raises(GatewiseError, match=r"cannot write the checkpoint .*: No space left on device; the one before"):
        checkpoints.save(numbered(2))
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-000000000001"]
    assert checkpoints.latest()[0].step == 1


def config(**keys):
    return RunConfig(data="wine", experts=3, epochs=12, batch_size=32, threads=1, patience=0, **keys)


def lines(run):
    return without_times(json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())


def assert_same_run(found, expected):
    assert_same(*(load_file(run / "model/weights.safetensors") for run in (found, expected)))
    assert lines(found) == lines(expected)
    one, other = (json.loads((run / "summary.json").read_text()) for run in (found, expected))
    for key in one.keys() - {"seconds", "command", "config"}:
        assert one[key] == other[key], key
    assert not (found / "checkpoints").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(config(), tmp_path_factory.mktemp("whole") / "run").folder


def test_a_run_goes_on(whole, tmp_path):
    calls = iter(range(1, 1000))
    run = train(config(), tmp_path / "run", should_stop=lambda: next(calls) == 17, command="gatewise train wine")
    assert run.summary["interrupted"]
    again = resume(run.folder)
    assert again.summary["command"] == "gatewise train wine"
    assert_same_run(run.folder, whole)
    with pytest.raises(GatewiseError, match=r"is finished; .*--set start_from="):
        resume(run.folder)


@pytest.mark.parametrize("stop", [3, 25])  # while there are starts to choose from, and after
def test_audits_along_the_way_are_not_written_twice(stop, tmp_path):
    calls = iter(range(1, 1000))
    keys = {"estimator": "score-function", "audit_every": 4}
    run = train(config(**keys), tmp_path / "run", should_stop=lambda: next(calls) == stop).folder
    with (run / "audits.jsonl").open("a") as file:
        file.write('{"epoch": 9}\n{"epo')
    resume(run)
    assert [json.loads(line)["epoch"] for line in (run / "audits.jsonl").read_text().splitlines()] == [1, 4, 8, 12]


def test_what_cannot_go_on_is_refused(tmp_path, monkeypatch):
    with pytest.raises(GatewiseError, match="there is no run to go on with in"):
        resume(tmp_path)
    table = tmp_path / "t.csv"
    table.write_text("a,y\n" + "".join(f"{i},{'uv'[i % 2]}\n" for i in range(60)))
    keys = RunConfig(data=str(table), target="y", experts=2, epochs=3, threads=1)
    run = train(keys, tmp_path / "run", should_stop=lambda: True).folder
    table.write_text(table.read_text().replace("\n7,", "\n8,"))
    with pytest.raises(GatewiseError, match=r"t.csv has changed since the run .* was begun"):
        resume(run)
    with held(run, "x"), pytest.raises(GatewiseError, match="another process trains in"):
        resume(run)


def started(folder):
    words = [
        sys.executable,
        "-m",
        "gatewise",
        "train",
        "wine",
        "--experts",
        "3",
        "--epochs",
        "12",
        "--out",
        str(folder),
    ]
    for setting in ("batch_size=32", "threads=1", "patience=0", "checkpoint_seconds=0.01"):
        words += ["--set", setting]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("after", [1, 6])
def test_a_run_that_is_killed_goes_on(after, whole, tmp_path):
    folder = tmp_path / "run"
    process = started(folder)
    deadline = time.monotonic() + 120
    while not (folder / "metrics.jsonl").exists() or len((folder / "metrics.jsonl").read_text().splitlines()) < after:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    words = [sys.executable, "-m", "gatewise", "train", "--resume", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_run(folder, whole)
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]


class Counting(Callback):
    """Counts epochs, from where it is set to begin."""

    def __init__(self, count):
        self.count = count

    def on_epoch(self, metrics):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state.get("count", self.count)


def test_two_callbacks_of_a_class_have_each_its_own_state(tmp_path):
    x, y = blobs()
    config = LoopConfig(epochs=2, batch_size=32)

    def trained(counts, stop):
        mixture = gw.MixtureOfExperts(torch.nn.Linear(6, 2), gw.MLPBank(2, 6, [], 3))
        objective = gw.objectives.get("marginal")
        checkpoints = Checkpoints(tmp_path / "checkpoints")
        fit(mixture, objective, (x, y), (x, y), config, callbacks=counts, should_stop=stop, checkpoints=checkpoints)

    steps = iter(range(100))
    trained([Counting(0), Counting(10)], lambda: next(steps) >= 3)
    again = [Counting(100), Counting(200)]
    trained(again, lambda: False)
    assert [each.count for each in again] == [2, 12]
