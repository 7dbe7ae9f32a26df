"""Experts spread over processes give what one process gives: in answers, gradients, loss, weights and checkpoints.

Four processes, as one spread and as two groups of two, and two of them alone; 3 steps, and `make processes` takes 50.
"""

import hashlib
import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import gatewise as gw
from gatewise.config import load_config
from gatewise.distributed import ALONE, Group, expert_mesh, gather_experts, shard_experts
from gatewise.distributed.all_to_all import Arrivals
from gatewise.distributed.mesh import experts_per_process
from gatewise.runs import Run, resume, train
from gatewise.runs.expert_parallel import check_expert_parallel
from gatewise.training import ShardedCheckpoints
from gatewise.training.checkpoints.folder import MANIFEST, Checkpoints

from .spread import (
    GONE_ON,
    LAYOUTS,
    RUN,
    SPREAD,
    STEPS,
    TRAINED,
    asked,
    bank,
    beside,
    drawn,
    exampled,
    layered,
    one_for_all,
    predicted,
    work,
)
from .test_data_parallel import CLOSE, assert_lines_close
from .work import interrupted, passed_over, together, trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the checkpoints of the processes lie."""
    return tmp_path_factory.mktemp("spread")


@pytest.fixture(scope="module")
def several(folder):
    return together(4, folder, work=work)


def assert_close(found, expected, what):
    torch.testing.assert_close(
        torch.from_numpy(found), expected, rtol=CLOSE, atol=CLOSE, msg=lambda said: f"{what}: {said}"
    )


@pytest.mark.parametrize("case", SPREAD)
def test_spread_experts_train_as_those_of_one_process(case, several):
    expected = trained(SPREAD[case], ALONE, steps=STEPS)
    for rank, found in several:
        for layout in (layout for layout in LAYOUTS if (layout, case) in found["states"]):
            state = found["states"][layout, case]
            assert state.keys() == expected.keys()
            for name, value in expected.items():
                assert_close(state[name], value, f"{layout}, process {rank}, {name}")


def test_all_processes_have_the_same_weights_to_the_bit(several):
    (_, first), *others = several
    for rank, other in others:
        layouts = [layout for layout in LAYOUTS if rank < 2 or layout != "1 × 2"]
        assert other["states"].keys() == {(layout, case) for layout in layouts for case in TRAINED[layout]}
        for key, state in other["states"].items():
            for name, value in state.items():
                assert (value == first["states"][key][name]).all(), f"{key}: {name}"


@pytest.mark.parametrize("place", range(4))
def test_answers_and_gradients_are_those_of_all_rows(place, several):
    """Of processes without rows, without experts, and with experts that no row asks for; second derivatives as well."""
    layout, twice = divmod(place, 2)
    for rank, found in several:
        ranks = [*range(4)] if layout == 0 else [2 * (rank // 2), 2 * (rank // 2) + 1]
        whole = bank(strategy="segments")
        outputs, everything, slope = asked(whole, ranks, bool(twice))
        before = sum(len(drawn(other)[0]) for other in ranks if other < rank)
        rows = slice(before, before + len(drawn(rank)[0]))
        values, low = found["answers"][place]
        for value, other in zip(values[:3], (outputs[rows], everything[rows], slope[rows]), strict=True):
            assert_close(value, other, "rows")
        for value, parameter in zip(values[3:], whole.parameters(), strict=True):
            assert_close(value, parameter.grad, "an expert's gradient")
        assert low == "torch.bfloat16"


def test_a_layer_takes_spread_experts(several):
    whole, *slopes = layered(0, ranks=range(4))
    y = iter(whole.split([len(drawn(rank)[0]) for rank in range(4)]))
    for _, found in several:
        for value, other in zip(found["layer"], (next(y), *slopes), strict=True):
            assert_close(value, other, "layer")


def test_a_masked_expert_of_nan_reaches_nothing(several):
    outputs, of_x, *slopes = beside(0, ranks=range(4))
    assert all(slope.isfinite().all() and (slope[2] == 0).all() for slope in slopes)
    rows = [len(drawn(rank)[0]) for rank in range(4)]
    parts = iter(zip(outputs.split(rows), of_x.split(rows), strict=True))
    for _, found in several:
        for value, other in zip(found["beside"], (*next(parts), *slopes), strict=True):
            assert_close(value, other, "beside a masked expert")


def test_checkpoints_of_one_process_are_refused(several):
    for _, found in several:
        assert found["refusal"] == "experts that are spread over processes are kept in ShardedCheckpoints"


def test_the_example_learns(several, capsys):
    accuracies = {found["example"] for _, found in several}
    assert len(accuracies) == 1
    assert min(accuracies) > 0.8  # 0.1 is where it begins
    with pytest.raises(SystemExit):
        exampled()
    assert "there is one process; start it by torchrun" in capsys.readouterr().err


def test_a_batch_that_is_not_finite_is_passed_over_by_all(several):
    history, warnings = passed_over(ALONE)
    of_rows = re.compile(r"\(1 of \d+ rows of the batch\)")
    for _, found in several:
        lines, said = found["passed over"]
        assert [of_rows.sub("", each) for each in said] == [of_rows.sub("", each) for each in warnings]
        assert_lines_close(lines, history)


def test_fsdp_is_right_where_each_process_routes_to_another_expert(several):
    values, state = one_for_all(4)
    for rank, found in several:
        seen, weights = found["fsdp"]
        for each, other in zip(seen, values, strict=True):
            assert_close(each, other[:, rank * 8 : rank * 8 + 8], "log p(y|z,x)")
        assert weights.keys() == state.keys()
        for name, value in state.items():
            assert_close(weights[name], value, name)


@pytest.mark.parametrize("layout", GONE_ON)
def test_a_training_of_two_goes_on_by_other_processes(layout, several, tmp_path):
    expected = interrupted(Checkpoints(tmp_path / "one"), ALONE)
    later = [found["resumed"][layout] for _, found in several if layout in found["resumed"]]
    assert len(later) == (2 if layout == "1 × 2" else 4)
    for state in later:
        for name, value in expected.items():
            assert_close(state[name], value, name)


def test_one_process_goes_on_from_what_two_have_written(several, folder, tmp_path):
    """With the moments of the optimiser, the best weights, and the first of two starts."""
    kept = ShardedCheckpoints(folder / "two")
    checkpoint, _ = kept.latest()
    assert (checkpoint.step, checkpoint.state["processes"], len(checkpoint.state["scores"])) == (2, 2, 1)
    assert any(name.endswith("exp_avg_sq") for name in checkpoint.tensors)
    expected = interrupted(Checkpoints(tmp_path / "one"), ALONE)
    found = interrupted(kept, ALONE)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=CLOSE, atol=CLOSE)


def test_what_four_have_written_one_reads_with_the_same_predictions(several, folder):
    names = {path.name for path in next((folder / "four").glob("step-*")).iterdir()}
    assert len([name for name in names if name.startswith("shard-")]) == 4
    predictions = predicted(folder / "four", ALONE, None)
    for _, found in several:
        assert (torch.from_numpy(found["predicted"]) == predictions).all()


def test_a_run_goes_on_by_four_and_by_one_and_is_that_of_one(several, folder, tmp_path):
    whole, alone, together = train(RUN, tmp_path / "one"), resume(folder / "stopped"), Run.load(folder / "run")
    expected = whole.model.mixture.state_dict()
    for run in (alone, together):
        assert run.config.expert_parallel == 2
        for name, value in run.model.mixture.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
        assert run.summary["test"]["nll"] == pytest.approx(whole.summary["test"]["nll"], rel=1e-4)
        assert not (run.folder / "checkpoints").exists()
    for _, found in several:
        assert found["run"] == together.summary["test"]


def harmed(folder, tmp_path, harm):
    """What is said of a checkpoint after some harm, by one that reads it."""
    place = tmp_path / "harmed"
    shutil.copytree(folder / "four", place)
    (path,) = place.glob("step-*")
    harm(path)
    return ShardedCheckpoints(place).latest()


def cut_short(path):
    shard = max(path.glob("shard-*"))
    shard.write_bytes(shard.read_bytes()[:-4])


def with_a_pickle(path):
    (path / ".metadata").write_bytes(b"cos\nsystem\n(S'touch harmed'\ntR.")


def without_a_shard(path):
    max(path.glob("shard-*")).unlink()


def without_the_second_shard_and_its_hash(path):
    second = sorted(path.glob("shard-*"))[1]
    second.unlink()
    manifest = json.loads((path / MANIFEST).read_text())
    del manifest["sha256"][second.name]
    (path / MANIFEST).write_text(json.dumps(manifest))


def lying(offset):
    """Harm: a shard whose header says so of the places of its parts, and whose hash is right."""

    def harm(path):
        shard = max(path.glob("shard-*"))
        tensors = load_file(shard)
        places = {name: {"saved_offsets": [offset] * each.dim()} for name, each in tensors.items()}
        save_file(tensors, shard, {"DCP_SHARDING_INFO": json.dumps(places if offset is not None else {})})
        manifest = json.loads((path / MANIFEST).read_text())
        manifest["sha256"][shard.name] = hashlib.sha256(shard.read_bytes()).hexdigest()
        (path / MANIFEST).write_text(json.dumps(manifest))

    return harm


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lying(None), "it is damaged"),
        (lying("first"), "it is damaged"),
        (lying(0), "leave holes or overlap"),
        (lying(-1), "it is damaged"),
        (lying(10**15), "leave holes or overlap"),
        (lying(10**30), "it is damaged"),
        (cut_short, "is not what the manifest says"),
        (with_a_pickle, ".metadata does not belong there"),
        (without_a_shard, "is missing"),
        (without_the_second_shard_and_its_hash, "leave holes or overlap"),
    ],
)
def test_half_a_checkpoint_is_none(harm, said, several, folder, tmp_path):
    found, problems = harmed(folder, tmp_path, harm)
    assert found is None
    assert len(problems) == 1
    assert said in problems[0]


def test_a_checkpoint_that_cannot_be_written_leaves_none(several, folder, tmp_path, monkeypatch):
    checkpoint, _ = ShardedCheckpoints(folder / "four").latest()
    monkeypatch.setattr("safetensors.torch.save", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "no space left")))
    with pytest.raises(gw.GatewiseError, match=r"cannot write the checkpoint .*no space left"):
        ShardedCheckpoints(tmp_path / "full").save(checkpoint)
    assert list((tmp_path / "full").iterdir()) == []


def test_experts_are_cut_as_torch_chunks_them():
    for count in range(1, 12):
        for processes in range(1, 8):
            chunks = [len(chunk) for chunk in torch.arange(count).chunk(processes)]
            assert experts_per_process(count, processes) == chunks + [0] * (processes - len(chunks))


def test_rows_from_several_processes_are_sorted_by_expert_and_back():
    arrived = Arrivals([[2, 0, 1], [0, 0, 0], [1, 2, 0]])
    rows = torch.tensor([[0, 0], [0, 0], [0, 2], [2, 0], [2, 1], [2, 1]])
    assert arrived.sort(rows).tolist() == [[0, 0], [0, 0], [2, 0], [2, 1], [2, 1], [0, 2]]
    assert (arrived.unsort(arrived.sort(rows)) == rows).all()
    assert (arrived.of_experts, arrived.of_processes) == ([3, 2, 1], [3, 0, 3])


def test_what_cannot_be_spread_is_refused():
    with pytest.raises(gw.GatewiseError, match="start them by torchrun"):
        expert_mesh(experts=2)
    with pytest.raises(gw.GatewiseError, match="are not spread"):
        gather_experts(bank())
    with pytest.raises(gw.GatewiseError, match="experts of the kind ExpertList cannot be spread"):
        shard_experts(gw.MixtureOfExperts(torch.nn.Linear(6, 2), [torch.nn.Linear(6, 3) for _ in range(2)]), None)


@pytest.mark.parametrize(
    ("size", "keys", "said"),
    [
        (1, {}, "expert_parallel = 2 spreads the experts over 2 processes, and 1 trains; give --processes 2, or a"),
        (3, {}, "expert_parallel = 2 spreads the experts over 2 processes, and 3 train; give --processes 2, or a"),
        (4, {"expert": "conv"}, "expert = 'conv' cannot be spread; take expert = 'mlp' or 'linear'"),
        (4, {"audit_every": 2}, "audit_every does not work where experts are spread: an audit runs in one process"),
        (4, {"reseed_after": 2}, "reseed_after does not work where experts are spread"),
    ],
)
def test_a_run_that_cannot_be_spread_is_refused(size, keys, said):
    config = load_config({"data": "digits", "expert_parallel": 2, **keys})
    with pytest.raises(gw.GatewiseError) as refused:
        check_expert_parallel(config, Group(0, size))
    assert said in str(refused.value)
