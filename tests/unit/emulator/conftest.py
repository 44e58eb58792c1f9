"""Real emulators: one for each set of flags, shared by the tests, or one of a test's own."""

from collections.abc import Callable, Iterator

import pytest

from tests.unit.emulator.emulator_process import FAST, Emulator, finish, is_up, launch, wait_for


@pytest.fixture(scope="session")
def shared() -> Iterator[Callable[..., Emulator]]:
    """Emulators by flags, fast unless told otherwise, alive until the session's end."""
    running: dict[tuple[str, ...], Emulator] = {}

    def get(*flags: str) -> Emulator:
        if flags not in running:
            running[flags] = launch(*FAST, *flags)
            wait_for(lambda: is_up(running[flags]))
        return running[flags]

    yield get
    for emulator in running.values():
        finish(emulator)


@pytest.fixture
def own() -> Iterator[Callable[..., Emulator]]:
    """Emulators of one test alone, to be killed or to die; not waited for."""
    mine: list[Emulator] = []

    def start(*flags: str) -> Emulator:
        mine.append(launch(*FAST, *flags))
        return mine[-1]

    yield start
    for emulator in mine:
        finish(emulator)
