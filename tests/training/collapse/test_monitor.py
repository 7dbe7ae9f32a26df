import pytest

from gatewise.training.collapse.monitor import CollapseMonitor

GOOD = {"train_effective_experts": 3.5, "train_experts_used": 4, "train_mutual_information": 0.4}


def said(*changes, objective="jensen", epochs=50, first=6):
    monitor = CollapseMonitor(num_experts=4, epochs=epochs, objective=objective)
    return [monitor.check({"epoch": epoch, **GOOD, **change}) for epoch, change in enumerate(changes, start=first)]


COLLAPSE = {"train_effective_experts": 1.2, "train_experts_used": 1}


def test_a_healthy_gate_is_not_warned_of():
    assert said({}, {}) == [[], []]


def test_collapse_is_said_once_with_a_cure():
    *early, message, after = said(COLLAPSE, COLLAPSE, COLLAPSE, COLLAPSE)
    assert early == [[], []]
    assert after == []
    assert len(message) == 1
    assert "collapsed in epoch 8" in message[0]
    assert "1.2 of 4 experts" in message[0]
    assert "load=0.3" in message[0]
    assert "--objective marginal" in message[0]


def test_what_does_not_last_is_not_said():
    assert not any(said(COLLAPSE, COLLAPSE, {}, COLLAPSE, COLLAPSE, {}))


def test_an_expert_that_dies_and_one_that_never_lived():
    dead = {"train_experts_used": 3}
    assert "1 of 4 experts died" in said({}, dead, dead, dead)[-1][0]
    (never,) = said(dead, dead, dead, objective="marginal")[-1]
    assert "1 of 4 experts never came alive" in never
    assert "--objective" not in never
    for objective, advised in (("evidence", False), ("hard-em", True), ("multi-sample", True), ("stratified", True)):
        (warning,) = said(dead, dead, dead, objective=objective)[-1]
        assert ("--objective marginal" in warning) == advised


def test_a_gate_that_stopped_choosing():
    still = {"train_mutual_information": 0.004}
    (message,) = said(still, still, still)[-1]
    assert "does not choose" in message
    assert "mutual_information=0.1" in message


def test_the_first_epochs_are_not_judged_but_a_short_training_is():
    assert not any(said(*[COLLAPSE] * 7, first=1))
    assert any(said(*[COLLAPSE] * 8, first=1))
    assert any(said(*[COLLAPSE] * 4, first=1, epochs=4))


def test_the_kept_weights_are_judged_however_short_the_training_was():
    monitor = CollapseMonitor(num_experts=4, epochs=50, objective="jensen")
    assert monitor.conclude({"epoch": 2, **GOOD}, []) == []
    (message,) = monitor.conclude({"epoch": 2, **GOOD, **COLLAPSE}, [])
    assert "collapsed in epoch 2" in message
    warned = [message for epoch in range(6, 9) for message in monitor.check({"epoch": epoch, **GOOD, **COLLAPSE})]
    assert monitor.conclude({"epoch": 8, **GOOD, **COLLAPSE}, warned) == warned


def test_what_the_kept_weights_have_overcome_is_withdrawn():
    monitor = CollapseMonitor(num_experts=4, epochs=50, objective="jensen")
    warned = [message for epoch in range(6, 9) for message in monitor.check({"epoch": epoch, **GOOD, **COLLAPSE})]
    other = "passed over a batch that is not finite"
    assert len(warned) == 1
    assert monitor.conclude({"epoch": 20, **GOOD}, [other, *warned]) == [other]
    seen = {"validation_experts_used": 4, "validation_effective_experts": 3.9, "validation_mutual_information": 0.5}
    assert monitor.conclude({"epoch": 20, **GOOD, "train_experts_used": 3, **seen}, []) == []


@pytest.mark.parametrize("experts", [2, 4])
def test_a_gate_of_even_weights_is_not_said_to_have_collapsed(experts):
    monitor = CollapseMonitor(num_experts=experts, epochs=50, objective="jensen")
    even = {"train_effective_experts": float(experts), "train_experts_used": 1, "train_mutual_information": 0.001}
    (message,) = monitor.conclude({"epoch": 9, **even}, [])
    assert "does not choose" in message
    # weights that differ, and one expert first on every row: the others are dead, but not without weight
    uneven = {"train_effective_experts": experts - 0.4, "train_experts_used": 1, "train_mutual_information": 0.3}
    (message,) = monitor.conclude({"epoch": 9, **uneven}, [])
    assert f"{experts - 1} of {experts} experts" in message
    assert "collapsed" not in message


def test_a_single_expert_has_no_choice_to_lose():
    alone = CollapseMonitor(num_experts=1, epochs=50, objective="jensen")
    ones = {"train_effective_experts": 1.0, "train_experts_used": 1, "train_mutual_information": 0.0}
    assert not any(alone.check({"epoch": epoch, **ones}) for epoch in range(1, 20))
