"""Processes find each other beside a store that former ones have left, and never those."""

import contextlib
import threading

import pytest
import torch.distributed as dist

from gatewise.distributed.rendezvous import meet


class Former(Exception):
    """Ends the processes of a generation that is killed."""


def gone_after(looks):
    """What stops a process once it has looked so often for the others."""
    left = iter(range(looks))

    def should_stop():
        if next(left, None) is None:
            raise Former
        return False

    return should_stop


def meeting(store, size, order, **besides):
    """The name that each of so many threads found, started in this order; None for one that was stopped."""
    found = [None] * size

    def come(rank):
        with contextlib.suppress(Former):
            found[rank] = meet(store, rank, size, **besides)

    threads = [threading.Thread(target=come, args=(rank,)) for rank in order]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_all_find_one_name_however_often_they_are_started_again():
    store = dist.HashStore()
    names = set()
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        found = meeting(store, 3, order)
        assert None not in found
        assert len({*found}) == 1
        names |= {*found}
    assert len(names) == 3


@pytest.mark.parametrize("who", [[0], [1, 2], [0, 2]])
def test_those_who_were_killed_while_they_waited_are_not_met(who):
    store = dist.HashStore()
    first = meeting(store, 3, [0, 1, 2])
    left = meeting(store, 3, who, should_stop=gone_after(6))
    assert left == [None] * 3
    # the first process comes last, so that the others read what is there of former ones
    found = meeting(store, 3, [2, 1, 0])
    assert len({*found}) == 1
    assert found[0] not in {None, *first}


def test_who_is_to_stop_does_not_wait():
    with pytest.raises(KeyboardInterrupt):
        meet(dist.HashStore(), 1, 2, lambda: True)
