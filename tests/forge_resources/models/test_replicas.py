"""A network's replicas: answers in order, one thread each, no more than cores."""

import threading

import pytest

from forge_resources.models.replicas import MOST_REPLICAS, Replicas


class _Network:
    """Notices a second thread; waits for others where it is told to."""

    def __init__(self, together: threading.Barrier | None = None) -> None:
        self._lock = threading.Lock()
        self._together = together

    def ask(self, given: int) -> int:
        assert self._lock.acquire(blocking=False), "two threads ask one replica"
        try:
            if self._together:
                self._together.wait()
            if given < 0:
                raise ValueError(f"no answer to {given}")
            return given * given
        finally:
            self._lock.release()


def test_answers_come_in_the_order_of_what_was_asked() -> None:
    replicas = Replicas(_Network, cores=4)
    assert replicas.map(_Network.ask, range(500)) == [given * given for given in range(500)]


def test_as_many_replicas_answer_at_a_time_as_there_are_cores() -> None:
    together = threading.Barrier(3, timeout=60)
    replicas = Replicas(lambda: _Network(together), cores=3)
    assert replicas.map(_Network.ask, range(6)) == [0, 1, 4, 9, 16, 25]


@pytest.mark.parametrize(("cores", "most"), [(1, 1), (3, 3), (1_000, MOST_REPLICAS)])
def test_no_more_replicas_are_made_than_cores_nor_than_the_most(cores: int, most: int) -> None:
    made: list[_Network] = []

    def load() -> _Network:
        made.append(_Network())
        return made[-1]

    replicas = Replicas(load, cores)
    for _ in range(5):
        replicas.map(_Network.ask, range(200))
    assert 1 <= len(made) <= most


def test_one_question_at_a_time_makes_one_replica() -> None:
    made: list[_Network] = []

    def load() -> _Network:
        made.append(_Network())
        return made[-1]

    replicas = Replicas(load, cores=4)
    for given in range(20):
        replicas.map(_Network.ask, [given])
    assert len(made) == 1


def test_nothing_asked_is_nothing_answered() -> None:
    assert Replicas(_Network).map(_Network.ask, []) == []


def test_the_first_error_of_those_asked_is_raised_and_the_replicas_go_on() -> None:
    replicas = Replicas(_Network, cores=2)
    with pytest.raises(ValueError, match="no answer to -3"):
        replicas.map(_Network.ask, [1, 2, -3, 4, -5])
    assert replicas.map(_Network.ask, [1, 2, 3]) == [1, 4, 9]


def test_what_the_first_load_raises_comes_at_once() -> None:
    def load() -> _Network:
        raise FileNotFoundError("no weights here")

    with pytest.raises(FileNotFoundError, match="no weights here"):
        Replicas(load)
