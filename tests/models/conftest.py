"""A hub on the loopback, for the tests that load models and SAEs by name."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests._helpers.hub import Client, connected


@pytest.fixture(scope="session")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Generator[Client]:
    """A hub, and a client of it; every module says what the hub serves, and empties the cache."""
    with connected(tmp_path_factory.mktemp("home")) as client:
        yield client
