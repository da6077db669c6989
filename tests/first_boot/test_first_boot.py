"""The user-data script, executed by a real sh with the real curl and openssl against the daemon's listener over TLS."""

import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reconciler.listener import Server, Tls
from reconciler.model import tags
from reconciler.sandbox.authority import certify_loopback
from reconciler.settings import Package
from tests.first_boot.machine import Boot, Machine, has
from tests.first_boot.site import Site

pytestmark = pytest.mark.skipif(not has("sh", "curl", "openssl"), reason="needs sh, curl and openssl")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_machine_becomes_a_node_that_ran_chef_and_said_so(here: Site, machine: Machine) -> None:
    instance_id = here.launch()
    boot = machine.boot(here.user_data(), imds=here.imds_of(instance_id))
    assert boot.status == 0, boot.said
    record = here.world.record(instance_id)

    node = here.chef.nodes([record.name])[record.name]
    assert (node.chef_environment, node.run_list) == ("checkout", ("role[checkout-web]",))
    assert node.ohai_time is not None
    assert here.node_clients == {record.name}
    key = load_pem_private_key((machine.config / "client.pem").read_bytes(), password=None)
    assert record.public_key is not None
    assert key.public_key() == load_pem_public_key(record.public_key.encode())

    assert record.first_run_ok is True
    assert [event.kind for event in here.world.events] == ["NodeRegistered", "FirstRunSucceeded"]
    assert "umask 022" in record.first_run_log
    assert "hunter2" not in record.first_run_log
    assert machine.waits == []


def test_what_it_leaves_behind_is_roots_alone_and_complete(here: Site, machine: Machine) -> None:
    instance_id = here.launch()
    machine.boot(here.user_data(), imds=here.imds_of(instance_id))
    name = here.world.record(instance_id).name
    state = machine.state(instance_id)
    for path in (machine.config / "client.pem", machine.config / "client.rb", state / "key.pem", state / "run.log"):
        assert mode(path) == 0o600, path
    assert json.loads((machine.config / "first-boot.json").read_text()) == {"run_list": ["role[checkout-web]"]}
    assert (machine.config / "client.rb").read_text().splitlines() == [
        f"chef_server_url '{here.chef_url}'",
        f"node_name '{name}'",
        f"client_key '{machine.config}/client.pem'",
        f"trusted_certs_dir '{machine.config}/trusted_certs'",
        "log_location STDOUT",
    ]
    assert (machine.config / "trusted_certs" / "hivequeen0.crt").read_text() == here.ca


def test_without_systemd_cron_runs_chef_again(here: Site, machine: Machine) -> None:
    machine.boot(here.user_data(), imds=here.imds_of(here.launch()))
    assert (machine.root / "etc" / "cron.d" / "hivequeen-chef").read_text() == (
        f"*/30 * * * * root {machine.bin}/cinc-client -c {machine.config}/client.rb >/dev/null 2>&1\n"
    )


def test_with_systemd_a_timer_does(here: Site, machine: Machine) -> None:
    machine.add_systemd()
    machine.boot(here.user_data(), imds=here.imds_of(here.launch()))
    units = machine.root / "etc" / "systemd" / "system"
    assert "OnUnitActiveSec=1800\n" in (units / "hivequeen-chef.timer").read_text()
    service = (units / "hivequeen-chef.service").read_text()
    assert f"ExecStart={machine.bin}/cinc-client -c {machine.config}/client.rb\n" in service
    assert machine.systemctl == ["daemon-reload", "enable --now hivequeen-chef.timer"]


def test_chef_is_told_that_its_licence_is_accepted(here: Site, tmp_path: Path) -> None:
    (tmp_path / "chef-machine").mkdir()
    machine = Machine(tmp_path / "chef-machine", product="chef")
    here.product = "chef"
    instance_id = here.launch()
    boot = machine.boot(here.user_data(), imds=here.imds_of(instance_id))
    assert boot.status == 0, boot.said
    assert "chef_license 'accept'" in (machine.config / "client.rb").read_text()
    assert here.world.record(instance_id).first_run_ok is True


def test_a_failed_first_run_is_reported_with_the_end_of_its_log(here: Site, machine: Machine) -> None:
    instance_id = here.launch()
    boot = machine.boot(here.user_data(), imds=here.imds_of(instance_id), failing_recipe="kickstarter::web")
    assert boot.status == 1
    record = here.world.record(instance_id)
    assert record.first_run_ok is False
    assert "cannot converge recipe[kickstarter::web]" in record.first_run_log
    event = here.world.events[-1]
    assert event.kind == "FirstRunFailed"
    assert "cannot converge recipe[kickstarter::web]" in event.message
    assert "hunter2" not in event.message
    assert here.chef.nodes([record.name])[record.name].ohai_time is None
    assert not (machine.root / "etc" / "cron.d" / "hivequeen-chef").exists()


def test_a_run_that_succeeds_after_a_failed_one_is_reported_too(here: Site, machine: Machine) -> None:
    instance_id = here.launch()
    machine.boot(here.user_data(), imds=here.imds_of(instance_id), failing_recipe="kickstarter::web")
    assert machine.boot(here.user_data(), imds=here.imds_of(instance_id)).status == 0
    assert here.world.record(instance_id).first_run_ok is True


def test_it_comes_back_as_late_as_it_is_asked_to(here: Site, machine: Machine) -> None:
    answers = iter(["NotOwner", "NotOwner", None])

    def decide() -> None:
        here.world.why_not = next(answers)

    here.world.before_writing = decide
    boot = machine.boot(here.user_data(), imds=here.imds_of(here.launch()))
    assert boot.status == 0, boot.said
    assert machine.waits == [1, 1]
    assert here.world.deferred == {"read_only": 2}


def test_it_stops_when_it_is_refused(here: Site, machine: Machine) -> None:
    instance_id = here.launch(tag_changes={tags.FLEET: "another"})
    boot = machine.boot(here.user_data(), imds=here.imds_of(instance_id))
    assert boot.status == 1
    assert "refused=foreign" in boot.said
    assert machine.waits == []
    assert here.world.refused == {"foreign": 1}
    assert here.node_clients == frozenset()
    assert not (machine.config / "client.rb").exists()


def test_it_does_not_talk_to_a_daemon_that_its_authority_did_not_certify(here: Site, machine: Machine) -> None:
    script = here.user_data(ca=certify_loopback(datetime.now(UTC)).ca)
    boot = machine.boot(script, imds=here.imds_of(here.launch()), tries=3)
    assert boot.status == 1
    assert not here.world.refused
    assert not here.world.deferred
    assert here.node_clients == frozenset()


def test_while_nobody_answers_it_waits_longer_each_time(here: Site, machine: Machine) -> None:
    boot = machine.boot(here.user_data(url="https://127.0.0.1:1"), imds=here.imds_of(here.launch()), tries=9)
    assert boot.status == 1
    shortest = [4, 8, 16, 32, 64, 64, 64, 64]
    assert len(machine.waits) == len(shortest)
    assert all(least <= wait <= least * 1.5 for least, wait in zip(shortest, machine.waits, strict=True))


def test_without_a_metadata_service_it_gives_up_only_when_told_to(here: Site, machine: Machine) -> None:
    boot = machine.boot(here.user_data(), imds="http://127.0.0.1:1", tries=3)
    assert boot.status == 1
    assert len(machine.waits) == 2


def test_after_a_reboot_it_is_the_same_node_with_the_same_key(here: Site, machine: Machine) -> None:
    instance_id = here.launch()
    script = here.user_data('echo ran >>"$HIVEQUEEN_ROOT/ran"')
    machine.boot(script, imds=here.imds_of(instance_id))
    key = (machine.config / "client.pem").read_bytes()
    again = machine.boot(script, imds=here.imds_of(instance_id))
    assert again.status == 0, again.said
    assert (machine.config / "client.pem").read_bytes() == key
    assert not here.world.refused
    assert (machine.root / "ran").read_text() == "ran\n"


def test_an_image_made_from_a_node_does_not_bring_its_key_along(here: Site, machine: Machine) -> None:
    first, second = here.launch(), here.launch()
    machine.boot(here.user_data(), imds=here.imds_of(first))
    boot = machine.boot(here.user_data(), imds=here.imds_of(second))
    assert boot.status == 0, boot.said
    assert here.world.record(first).public_key != here.world.record(second).public_key


# --- declared user_data ----------------------------------------------------------------------------------------------


def test_declared_user_data_runs_first_in_a_process_of_its_own(here: Site, machine: Machine) -> None:
    declared = (
        'umask >"$HIVEQUEEN_ROOT/umask"\nls "$HIVEQUEEN_ROOT/etc/cinc" >"$HIVEQUEEN_ROOT/before"\nURL=elsewhere; exit 0'
    )
    boot = machine.boot(here.user_data(declared), imds=here.imds_of(here.launch()))
    assert boot.status == 0, boot.said
    assert (machine.root / "umask").read_text() == "0022\n"
    assert "client.rb" not in (machine.root / "before").read_text()


def test_declared_user_data_may_name_its_interpreter(here: Site, machine: Machine) -> None:
    declared = "#!/usr/bin/env -S sed -n 's/^# //p'\n# works\n"
    instance_id = here.launch()
    boot = machine.boot(here.user_data(declared), imds=here.imds_of(instance_id))
    assert boot.status == 0, boot.said
    assert (machine.state(instance_id) / "user-data.log").read_text() == "works\n"


def test_declared_user_data_that_fails_does_not_stop_the_bootstrap_and_is_reported(
    here: Site, machine: Machine
) -> None:
    instance_id = here.launch()
    boot = machine.boot(here.user_data("echo no such disk >&2\nexit 3"), imds=here.imds_of(instance_id))
    assert boot.status == 0, boot.said
    record = here.world.record(instance_id)
    assert record.first_run_ok is True
    assert "no such disk" in record.first_run_log
    assert "user_data failed with exit status 3" in here.world.events[-1].message


# --- installing ------------------------------------------------------------------------------------------------------


@pytest.fixture
def packages() -> Iterator[str]:
    def package(_: Request) -> Response:
        return Response(b"the package")

    app = Starlette(routes=[Route("/cinc_18.5.0-1_amd64.deb", package), Route("/cinc-18.5.0-1.x86_64.rpm", package)])
    with Server(app, name="packages", host="127.0.0.1", port=0) as server:
        yield server.url


@pytest.mark.parametrize(
    ("file", "installer"),
    [("cinc_18.5.0-1_amd64.deb?x=1", "dpkg -i"), ("cinc-18.5.0-1.x86_64.rpm", "rpm -U --replacepkgs")],
)
def test_a_missing_client_is_installed_from_the_pinned_package(
    here: Site, tmp_path: Path, packages: str, file: str, installer: str
) -> None:
    (tmp_path / "bare").mkdir()
    machine = Machine(tmp_path / "bare", has_client=False)
    command, *arguments = installer.split()
    machine.add_client()
    (machine.bin / "cinc-client").rename(machine.bin / "packed")
    expected = " ".join(arguments)
    machine.add_command(
        command,
        f"""for package; do :; done
[ "$*" = "{expected} $package" ] && [ "$(cat "$package")" = "the package" ] && cp {machine.bin}/packed {machine.bin}/cinc-client""",
    )
    here.package = Package(url=f"{packages}/{file}", sha256=sha256(b"the package").hexdigest().upper())
    instance_id = here.launch()
    boot = machine.boot(here.user_data(), imds=here.imds_of(instance_id))
    assert boot.status == 0, here.world.record(instance_id).first_run_log
    assert here.world.record(instance_id).first_run_ok is True


def test_an_installer_that_another_one_keeps_waiting_is_tried_again(here: Site, tmp_path: Path, packages: str) -> None:
    (tmp_path / "bare").mkdir()
    machine = Machine(tmp_path / "bare", has_client=False)
    machine.add_client()
    (machine.bin / "cinc-client").rename(machine.bin / "packed")
    machine.add_command(
        "dpkg",
        f"""[ -e {machine.root}/tried ] && cp {machine.bin}/packed {machine.bin}/cinc-client && exit 0
touch {machine.root}/tried
exit 2""",
    )
    here.package = Package(url=f"{packages}/cinc_18.5.0-1_amd64.deb", sha256=sha256(b"the package").hexdigest())
    instance_id = here.launch()
    assert machine.boot(here.user_data(), imds=here.imds_of(instance_id)).status == 0
    assert len(machine.waits) == 1


def failed_install(here: Site, tmp_path: Path) -> tuple[Boot, str]:
    (tmp_path / "bare").mkdir()
    machine = Machine(tmp_path / "bare", has_client=False)
    machine.add_command("dpkg", "echo must not be called; exit 0")
    instance_id = here.launch()
    boot = machine.boot(here.user_data(), imds=here.imds_of(instance_id))
    assert here.world.record(instance_id).first_run_ok is False
    return boot, here.world.record(instance_id).first_run_log


def test_a_package_with_another_checksum_is_not_installed_and_that_is_reported(
    here: Site, tmp_path: Path, packages: str
) -> None:
    here.package = Package(url=f"{packages}/cinc_18.5.0-1_amd64.deb", sha256="0" * 64)
    boot, log = failed_install(here, tmp_path)
    assert boot.status == 1
    assert "has another SHA-256" in log
    assert "must not be called" not in log


def test_an_image_without_a_client_and_no_package_is_reported(here: Site, tmp_path: Path) -> None:
    boot, log = failed_install(here, tmp_path)
    assert boot.status == 1
    assert "bootstrap.package is not set" in log


# --- a daemon that is not what it seems ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "run_list=$(touch pwned)",
        "run_list=`touch pwned`",
        "run_list=role[a];touch pwned",
        "run_list=role['a']",
        'run_list="],"x":["',
        "run_list=",
        "node_name=a'; system('touch pwned') #",
        "chef_environment=a b",
        "chef_server_url=https://chef/\\",
        "",
    ],
)
def test_an_answer_is_read_and_never_evaluated(here: Site, machine: Machine, tmp_path: Path, line: str) -> None:
    good = {
        "node_name": "n",
        "chef_server_url": here.chef_url,
        "chef_environment": "checkout",
        "run_list": "role[checkout-web]",
    }
    key, _, _ = line.partition("=")
    lines = [f"{k}={v}" for k, v in good.items() if k != key and line] + [line]

    def answer(_: Request) -> Response:
        return PlainTextResponse("\n".join(lines))

    tls = Tls(certificate=here.folder / "nodes.pem", key=here.folder / "nodes-key.pem")
    app = Starlette(routes=[Route("/{path:path}", answer, methods=["POST"])])
    with Server(app, name="evil", host="127.0.0.1", port=0, tls=tls) as server:
        boot = machine.boot(here.user_data(url=server.url), imds=here.imds_of(here.launch()))
    assert boot.status == 1
    assert "no usable" in boot.said
    assert not list(tmp_path.rglob("pwned"))
    assert not (machine.config / "client.rb").exists()
