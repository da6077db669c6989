"""The worlds as fixtures: servers once per session, an empty organisation per test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.listener import Server
from reconciler.sandbox.chef import create_chef_app
from tests import goiardi
from tests.adapters.chef.worlds import FakeWorld, HttpWorld, Pair, World, http_world, pair
from tests.fakes.chef import FakeChefServer


@pytest.fixture(scope="session")
def hivequeen_keys() -> Pair:
    return pair()


@pytest.fixture(scope="session")
def node_keys() -> tuple[Pair, Pair]:
    return pair(), pair()


@pytest.fixture(scope="session")
def hivequeen_key(hivequeen_keys: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chef") / "hivequeen.pem"
    path.write_text(hivequeen_keys.private)
    return path


@pytest.fixture(scope="session")
def sandbox_url(hivequeen_keys: Pair) -> Iterator[str]:
    app = create_chef_app(admin="hivequeen", admin_public_key=hivequeen_keys.public)
    with Server(app, name="chef-sandbox", host="127.0.0.1", port=0) as server:
        yield f"{server.url}/organizations/acme"


@pytest.fixture(scope="session")
def goiardi_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[goiardi.Goiardi]:
    if not goiardi.is_installed():
        pytest.skip("the Debian package goiardi is not installed")
    with goiardi.goiardi(tmp_path_factory.mktemp("goiardi")) as server:
        yield server


@pytest.fixture
def sandbox_world(sandbox_url: str, hivequeen_key: Path) -> Iterator[HttpWorld]:
    world = http_world(sandbox_url, "hivequeen", hivequeen_key)
    world.clean()
    yield world
    world.close()


@pytest.fixture
def goiardi_world(goiardi_server: goiardi.Goiardi) -> Iterator[HttpWorld]:
    world = http_world(goiardi_server.url, goiardi_server.admin, goiardi_server.admin_key)
    world.clean()
    yield world
    world.close()


@pytest.fixture(params=["sandbox", pytest.param("goiardi", marks=pytest.mark.goiardi)])
def http(request: pytest.FixtureRequest) -> HttpWorld:
    """A server behind HTTP."""
    world = request.getfixturevalue(f"{request.param}_world")
    assert isinstance(world, HttpWorld)
    return world


@pytest.fixture(params=["fake", "sandbox", pytest.param("goiardi", marks=pytest.mark.goiardi)])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "fake":
        return FakeWorld(FakeChefServer())
    found: World = request.getfixturevalue(f"{request.param}_world")
    return found
