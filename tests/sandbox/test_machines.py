"""Simulated instances talk like real ones, fail like real ones, and stop when they are terminated."""

import socket
import stat
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from reconciler.enroll.first_boot import FirstBoot
from reconciler.model.names import ChefName, NodeName
from reconciler.model.observed import ChefRole
from reconciler.sandbox import Sandbox
from reconciler.sandbox.authority import new_key, public_pem
from reconciler.sandbox.chef_run import ChefRun, RunFailed
from reconciler.sandbox.machines import Stage
from reconciler.sandbox.user_data import read_user_data
from reconciler.settings import BootstrapSettings, ChefSettings
from tests.sandbox.half_daemon import HalfDaemon, half_daemon

TIMEOUT_S = 30


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", repository="/srv/envs.git", pending_s=0, boot_s=0, run_s=0) as running:
        yield running


@pytest.fixture
def daemon(sandbox: Sandbox) -> Iterator[HalfDaemon]:
    with half_daemon(sandbox) as running:
        yield running


def wait_for(sandbox: Sandbox, **wanted: int) -> None:
    """Until so many machines are at each stage: `converged=3`."""

    def holds(stages: Mapping[str, Stage]) -> bool:
        return all(
            sum(stage.name.lower() == name for stage in stages.values()) == count for name, count in wanted.items()
        )

    assert sandbox.machines.wait_until(holds, timeout_s=TIMEOUT_S), sandbox.machines.stages()


def test_launched_instances_become_nodes_with_keys_of_their_own(sandbox: Sandbox, daemon: HalfDaemon) -> None:
    instance_ids = daemon.launch(count=3)
    wait_for(sandbox, converged=3)
    records = [daemon.journal.node(instance_id) for instance_id in instance_ids]
    assert len({record.public_key for record in records if record}) == 3
    for record in records:
        assert record is not None
        node = daemon.chef.nodes([record.name])[record.name]
        assert (node.chef_environment, node.run_list) == ("checkout", ("role[checkout-web]",))
        assert node.ohai_time is not None
        assert record.name in daemon.chef.clients([record.name])
        assert record.first_run_ok is True
    assert not daemon.refused


def test_a_failing_recipe_fails_the_first_run_and_that_is_reported(sandbox: Sandbox, daemon: HalfDaemon) -> None:
    sandbox.machines.failing_recipes.add("app::web")
    (instance_id,) = daemon.launch()
    wait_for(sandbox, failed=1)
    record = daemon.journal.node(instance_id)
    assert record is not None
    assert record.first_run_ok is False
    assert "recipe[app::web]" in record.first_run_log
    assert "FATAL" in sandbox.machines.log_of(instance_id)[-1]
    assert daemon.chef.nodes([record.name])[record.name].ohai_time is None


def test_a_machine_waits_for_a_daemon_that_must_not_write(sandbox: Sandbox, daemon: HalfDaemon) -> None:
    daemon.why_not.append("NotOwner")
    daemon.launch()
    wait_for(sandbox, registering=1)
    daemon.why_not.clear()
    wait_for(sandbox, converged=1)


def test_a_foreign_machine_is_refused_and_stops(sandbox: Sandbox, daemon: HalfDaemon) -> None:
    before = daemon.chef.clients()
    daemon.launch(fleet="another")
    wait_for(sandbox, refused=1)
    assert daemon.refused == {"foreign": 1}
    assert daemon.chef.clients() == before


def test_a_machine_with_other_user_data_does_nothing(sandbox: Sandbox, daemon: HalfDaemon, tmp_path: Path) -> None:
    """No script runs on the computer of whoever tries it out."""
    before = daemon.chef.clients()
    daemon.launch(user_data=f"#!/bin/sh\ntouch {tmp_path / 'never'}\n")
    wait_for(sandbox, idle=1)
    assert not (tmp_path / "never").exists()
    assert (daemon.refused, daemon.chef.clients()) == ({}, before)


def test_a_terminated_machine_stops(tmp_path: Path) -> None:
    with (
        Sandbox(tmp_path / "sandbox", repository="/srv/envs.git", pending_s=0, boot_s=3600, run_s=0) as sandbox,
        half_daemon(sandbox) as daemon,
    ):
        (instance_id,) = daemon.launch()
        daemon.cloud.terminate([instance_id])
        wait_for(sandbox, terminated=1)
        assert (
            requests.put(f"{sandbox.imds_url}/instances/{instance_id}/latest/api/token", timeout=5).status_code == 400
        )


def test_a_machine_runs_chef_again_if_asked_to(tmp_path: Path) -> None:
    with (
        Sandbox(
            tmp_path / "sandbox", repository="/srv/envs.git", pending_s=0, boot_s=0, run_s=0, repeat_s=0.05
        ) as sandbox,
        half_daemon(sandbox) as daemon,
    ):
        (instance_id,) = daemon.launch()
        assert sandbox.machines.wait_until(
            lambda _: list(sandbox.machines.log_of(instance_id)).count("Chef run complete") >= 2, timeout_s=TIMEOUT_S
        )


# --- the metadata service --------------------------------------------------------------------------------------------


def test_metadata_needs_a_token_of_the_same_instance(sandbox: Sandbox, daemon: HalfDaemon) -> None:
    one, other = daemon.launch(count=2)
    url = f"{sandbox.imds_url}/instances/{one}/latest"
    token = requests.put(
        f"{sandbox.imds_url}/instances/{other}/latest/api/token",
        headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"},
        timeout=5,
    ).text
    for headers in ({}, {"X-aws-ec2-metadata-token": "guess"}, {"X-aws-ec2-metadata-token": token}):
        answer = requests.get(f"{url}/dynamic/instance-identity/document", headers=headers, timeout=5)
        assert answer.status_code == 401


def test_metadata_that_does_not_exist_is_not_found(sandbox: Sandbox, daemon: HalfDaemon) -> None:
    (one,) = daemon.launch()
    url = f"{sandbox.imds_url}/instances/{one}/latest"
    token = requests.put(f"{url}/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}, timeout=5).text
    headers = {"X-aws-ec2-metadata-token": token}
    assert requests.get(f"{url}/meta-data/iam", headers=headers, timeout=5).status_code == 404
    assert requests.get(f"{url}/meta-data/instance-id", headers=headers, timeout=5).text == one
    address = requests.get(f"{url}/meta-data/local-ipv4", headers=headers, timeout=5).text
    assert daemon.cloud.get_instances([one])[one].private_address == address


# --- the whole -------------------------------------------------------------------------------------------------------


def test_what_the_sandbox_writes_is_the_owners_alone(sandbox: Sandbox) -> None:
    written = sorted(path.name for path in sandbox.directory.iterdir())
    assert written == [
        "aws-identity.pem",
        "chef.pem",
        "hivequeen.yml",
        "nodes-ca.pem",
        "nodes-key.pem",
        "nodes.pem",
    ]
    for path in sandbox.directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_sandbox_leaves_no_listener_and_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with Sandbox(tmp_path / "sandbox", repository="/srv/envs.git") as sandbox:
        ports = [
            int(url.split("/")[2].rpartition(":")[2]) for url in (sandbox.ec2_url, sandbox.chef_url, sandbox.imds_url)
        ]
    assert set(threading.enumerate()) <= before
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


# --- values out of user-data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ca", [None, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"])
@pytest.mark.parametrize("url", ["https://127.0.0.1:9465", "https://127.0.0.1/it's"])
def test_a_machine_reads_what_the_renderer_wrote(ca: str | None, url: str) -> None:
    script = FirstBoot(
        bootstrap=BootstrapSettings(url=url, identity_certificates=Path("aws.pem"), product="chef"),
        chef=ChefSettings(server_url="https://chef", client_name="hivequeen", client_key=Path("chef.pem")),
        ca_certificate=ca,
        chef_ca_certificate=None,
    ).render("URL='https://elsewhere'\necho hello")
    read = read_user_data(script)
    assert read is not None
    assert (read.url, read.product, read.ca_certificate) == (url, "chef", ca)


def test_other_user_data_is_not_mistaken_for_ours() -> None:
    assert read_user_data("#!/bin/sh\necho URL=x PRODUCT=y\n") is None


# --- a run against a server that does not do its part ----------------------------------------------------------------


def run_of(sandbox: Sandbox, key: RSAPrivateKey) -> ChefRun:
    return ChefRun(server_url=sandbox.chef_url, name="nobody", key=key, automatic={}, now=lambda: datetime.now(UTC))


def test_a_run_without_a_client_fails(sandbox: Sandbox) -> None:
    with pytest.raises(RunFailed, match="401"):
        run_of(sandbox, new_key()).run(run_list=("recipe[app]",), environment="checkout")


def test_a_run_whose_role_does_not_exist_fails(sandbox: Sandbox, daemon: HalfDaemon) -> None:
    key = new_key()
    daemon.chef.create_client(NodeName("nobody"), public_pem(key))
    with pytest.raises(RunFailed, match="role missing is in the run list but does not exist"):
        run_of(sandbox, key).run(run_list=("role[missing]",), environment="checkout")


def test_roles_that_include_each_other_fail_the_run(sandbox: Sandbox, daemon: HalfDaemon) -> None:
    key = new_key()
    daemon.chef.create_client(NodeName("nobody"), public_pem(key))
    daemon.chef.put_role(ChefRole(name=ChefName("round"), run_list=("role[round]",), default_attributes={}))
    with pytest.raises(RunFailed, match="without end"):
        run_of(sandbox, key).run(run_list=("role[round]",), environment="checkout")
