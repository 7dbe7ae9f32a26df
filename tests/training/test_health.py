from gatewise.training.health import Health

GOOD = {"train_effective_experts": 3.5, "train_experts_used": 4, "train_mutual_information": 0.4}


def said(*changes, objective="jensen"):
    health = Health(num_experts=4, epochs=50, objective=objective)
    return [health.check({"epoch": epoch, **GOOD, **change}) for epoch, change in enumerate(changes, start=5)]


def test_a_healthy_gate_is_not_warned_of():
    assert said({}, {}) == [[], []]


def test_collapse_is_said_once_with_a_cure():
    first, second = said({"train_effective_experts": 1.2, "train_experts_used": 1}, {"train_effective_experts": 1.2})
    assert len(first) == 1
    assert "collapsed in epoch 5" in first[0]
    assert "1.2 of 4 experts" in first[0]
    assert "load=0.1" in first[0]
    assert "--objective marginal" in first[0]
    assert second == []


def test_an_expert_that_dies_and_one_that_never_lived():
    _, died = said({}, {"train_experts_used": 3})
    assert "1 of 4 experts died" in died[0]
    (never,) = said({"train_experts_used": 2}, objective="marginal")
    assert "2 of 4 experts never came alive" in never[0]
    assert "--objective" not in never[0]


def test_a_gate_that_stopped_choosing():
    (message,) = said({"train_mutual_information": 0.004})[0]
    assert "stopped choosing" in message
    assert "mutual_information=0.1" in message


def test_the_first_epochs_and_a_single_expert_are_not_judged():
    health = Health(num_experts=4, epochs=50, objective="jensen")
    assert health.check({"epoch": 4, **GOOD, "train_experts_used": 1}) == []
    alone = Health(num_experts=1, epochs=50, objective="jensen")
    assert alone.check({"epoch": 9, **GOOD, "train_effective_experts": 1.0, "train_experts_used": 1}) == []
