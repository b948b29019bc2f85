"""Jobs that share a key run one after the other, in their order; others do not wait for them."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from connectors.notify.sequence import Sequence


@dataclass(eq=False)
class Job:
    number: int
    keys: tuple[str, ...]
    live: bool = True


KEYS = st.lists(st.sampled_from("abcd"), unique=True, max_size=2).map(tuple)
# What happens next: a job comes, the oldest running one ends, or a job dies.
STEPS = st.lists(st.one_of(KEYS, st.integers(0, 5), st.just("die")), max_size=40)


@given(STEPS)
def test_live_jobs_of_a_key_run_once_each_in_order_and_alone(
    steps: list[tuple[str, ...] | int | str],
) -> None:
    sequence: Sequence[Job] = Sequence()
    jobs: list[Job] = []
    running: list[Job] = []
    started: list[Job] = []

    def start(ready: list[Job]) -> None:
        for job in ready:
            assert job not in started
            if job.live:
                busy = {key for one in running if one.live for key in one.keys}
                assert busy.isdisjoint(job.keys)
            started.append(job)
            running.append(job)

    def end(job: Job) -> None:
        running.remove(job)
        start(sequence.remove(job))

    for step in steps:
        if isinstance(step, tuple):
            jobs.append(Job(len(jobs), step))
            start(sequence.add(jobs[-1]))
        elif step == "die" and jobs:
            jobs[len(jobs) // 2].live = False
        elif running and isinstance(step, int):
            end(running[step % len(running)])
    while running:
        end(running[0])
    assert len(sequence) == 0
    alive = [job for job in jobs if job.live]
    assert {job.number for job in alive} <= {job.number for job in started}
    for key in "abcd":
        of_key = [job.number for job in started if key in job.keys and job.live]
        assert of_key == sorted(of_key)


def test_job_waits_for_no_other_key() -> None:
    sequence: Sequence[Job] = Sequence()
    one, two, three = Job(1, ("a",)), Job(2, ("b",)), Job(3, ("a", "b"))
    assert sequence.add(one) == [one]
    assert sequence.add(two) == [two]
    assert sequence.add(three) == []
    assert sequence.remove(one) == []
    assert sequence.remove(two) == [three]


def test_new_job_does_not_wait_for_one_that_is_no_longer_needed() -> None:
    sequence: Sequence[Job] = Sequence()
    dead, behind, new = Job(1, ("a", "b")), Job(2, ("b",)), Job(3, ("a",))
    assert sequence.add(dead) == [dead]
    assert sequence.add(behind) == []
    dead.live = False
    assert sequence.add(new) == [behind, new]
    assert sequence.remove(dead) == []
    assert [*sequence] == [behind, new]
