"""`hivequeen.yml`: read once, checked whole, and wrong in words that help."""

from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import SettingsError
from reconciler.model.names import FleetId
from reconciler.model.policy import Policy
from reconciler.settings import (
    AwsSettings,
    BootstrapSettings,
    ChefSettings,
    Deadlines,
    Intervals,
    Lifetimes,
    Limits,
    ListenSettings,
    Mode,
    Package,
    Receiver,
    RepositorySettings,
    Settings,
    TeardownSettings,
    TlsSettings,
    control_of,
    load,
)

REMEDY = "(copy systemd/hivequeen.yml there, or name one with --config; to try it out: script/demo)"
DAY_S = 86400
REPOSITORY = Path(__file__).parents[1]

LEAST = """\
fleet: demo
repository: {url: /srv/envs.git}
aws: {region: us-east-1}
chef: {server_url: "https://chef/organizations/acme", client_name: hivequeen, client_key: /etc/hivequeen/chef.pem}
bootstrap: {url: "https://10.0.0.5:9465", identity_certificates: /etc/hivequeen/aws-identity.pem}
tls: {certificate: /etc/hivequeen/tls.crt, key: /etc/hivequeen/tls.key}
"""
ALL = """\
fleet: demo-1
mode: observe
repository: {url: git@git.example.com:ops/envs.git, branch: live, path: envs/live, ssh_key: git.key, known_hosts: hosts, verify_keys: signers}
aws: {region: eu-central-1, endpoint_url: "http://127.0.0.1:5000", account_id: "012345678901"}
chef: {server_url: "https://chef/organizations/acme", client_name: hq, client_key: chef.pem, ca_certificate: ca.pem, interval: 1h}
bootstrap:
  url: http://10.0.0.5:9465
  identity_certificates: aws.pem
  ca_certificate: tls-ca.pem
  insecure: true
  product: chef
  package: {url: "https://packages.example.com/chef.deb", sha256: "SHA256"}
listen: {operators: "[::1]:0", nodes: 10.0.0.5:9465}
tls: {certificate: tls.crt, key: tls.key}
control: /tmp/control.sock
state: sqlite:///state.db
intervals: {poll: 30s, resync: 10m, progress: 2s}
deadlines: {launch: 5m, bootstrap: 14d}
limits:
  nodes: {least: 2, share: 0.25}
  environments: {least: 5, share: 1}
  orphan_age: 1h
  failures_in_a_row: 5
teardown: {grace: 0s}
quarantine: 1h
lifetimes: {default_ttl: 14d, maximum_ttl: 30d, notices: [2h, 30m, 2d], remove_files: true}
policy:
  instance_types: ["t3.*", m7i.large]
  nodes: {environment: 20, total: 200}
  monthly_cost: {environment: 500, total: 5000.5}
  owner: "*@example.com"
  require_ttl: true
  parents: [production, _base]
  protected: [production]
  schema: {required: [extends]}
notify:
  - {name: chat, url_file: chat.url, secret_file: chat.secret, on: [ready, held], environments: "feature-*"}
  - {url_file: chat.url, on: [torn_down]}
prices: prices.json
concurrency: 16
""".replace("SHA256", "0123456789abcdef" * 4)


def write(folder: Path, text: str) -> Path:
    path = folder / "hivequeen.yml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str, *, check_files: bool = False) -> list[str]:
    """What is wrong, without the path in front."""
    path = write(folder, text)
    with pytest.raises(SettingsError) as caught:
        load(path, check_files=check_files)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def changed(line: str, by: str) -> str:
    assert line in LEAST
    return LEAST.replace(line, by)


def test_what_is_left_out_keeps_its_default(tmp_path: Path) -> None:
    assert load(write(tmp_path, LEAST), check_files=False) == Settings(
        fleet=FleetId("demo"),
        repository=RepositorySettings(url="/srv/envs.git"),
        aws=AwsSettings(region="us-east-1"),
        chef=ChefSettings(
            server_url="https://chef/organizations/acme",
            client_name="hivequeen",
            client_key=Path("/etc/hivequeen/chef.pem"),
        ),
        bootstrap=BootstrapSettings(
            url="https://10.0.0.5:9465", identity_certificates=Path("/etc/hivequeen/aws-identity.pem")
        ),
        tls=TlsSettings(certificate=Path("/etc/hivequeen/tls.crt"), key=Path("/etc/hivequeen/tls.key")),
        lifetimes=Lifetimes(default_ttl_s=None, maximum_ttl_s=None, notices_s=(3600, DAY_S), remove_files=False),
    )


def test_every_setting_is_read_and_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    assert load(write(tmp_path, ALL), check_files=False) == Settings(
        fleet=FleetId("demo-1"),
        mode=Mode.OBSERVE,
        repository=RepositorySettings(
            url="git@git.example.com:ops/envs.git",
            branch="live",
            path="envs/live",
            ssh_key=tmp_path / "git.key",
            known_hosts=tmp_path / "hosts",
            verify_keys=tmp_path / "signers",
        ),
        aws=AwsSettings(region="eu-central-1", endpoint_url="http://127.0.0.1:5000", account_id="012345678901"),
        chef=ChefSettings(
            server_url="https://chef/organizations/acme",
            client_name="hq",
            client_key=tmp_path / "chef.pem",
            ca_certificate=tmp_path / "ca.pem",
            interval_s=3600,
        ),
        bootstrap=BootstrapSettings(
            url="http://10.0.0.5:9465",
            identity_certificates=tmp_path / "aws.pem",
            ca_certificate=tmp_path / "tls-ca.pem",
            insecure=True,
            product="chef",
            package=Package(url="https://packages.example.com/chef.deb", sha256="0123456789abcdef" * 4),
        ),
        listen=ListenSettings(operators="[::1]:0", nodes="10.0.0.5:9465"),
        tls=TlsSettings(certificate=tmp_path / "tls.crt", key=tmp_path / "tls.key"),
        control=Path("/tmp/control.sock"),
        state=f"sqlite:///{tmp_path}/state.db",
        intervals=Intervals(poll_s=30, resync_s=600, progress_s=2),
        deadlines=Deadlines(launch_s=300, bootstrap_s=14 * 86400),
        limits=Limits(
            nodes_least=2,
            nodes_share=0.25,
            environments_least=5,
            environments_share=1,
            orphan_age_s=3600,
            failures_in_a_row=5,
        ),
        teardown=TeardownSettings(grace_s=0),
        quarantine_s=3600,
        lifetimes=Lifetimes(
            default_ttl_s=14 * DAY_S, maximum_ttl_s=30 * DAY_S, notices_s=(1800, 7200, 2 * DAY_S), remove_files=True
        ),
        policy=Policy(
            instance_types=("t3.*", "m7i.large"),
            nodes_per_environment=20,
            nodes_in_total=200,
            monthly_cost_per_environment=500,
            monthly_cost_in_total=5000.5,
            owner="*@example.com",
            requires_ttl=True,
            default_ttl=timedelta(days=14),
            maximum_ttl=timedelta(days=30),
            parents=("production", "_base"),
            protected=("production",),
            schema={"required": ["extends"]},
        ),
        notify=(
            Receiver(
                name="chat",
                url_file=tmp_path / "chat.url",
                secret_file=tmp_path / "chat.secret",
                on=frozenset({"ready", "held"}),
                environments="feature-*",
            ),
            Receiver(name="notify[1]", url_file=tmp_path / "chat.url", on=frozenset({"torn_down"})),
        ),
        prices=tmp_path / "prices.json",
        concurrency=16,
    )


def test_lifetimes_reach_planning_and_policy_knows_its_lines(tmp_path: Path) -> None:
    settings = load(write(tmp_path, ALL), check_files=False)
    assert settings.rules.default_ttl == timedelta(days=14)
    assert settings.rules.notices == (timedelta(minutes=30), timedelta(hours=2), timedelta(days=2))
    assert {key: origin.line for key, origin in settings.policy.origins.items()} == {
        "instance_types": 28,
        "nodes.environment": 29,
        "nodes.total": 29,
        "monthly_cost.environment": 30,
        "monthly_cost.total": 30,
        "owner": 31,
        "require_ttl": 32,
        "parents": 33,
        "protected": 34,
        "schema": 35,
    }


def test_the_test_above_sets_every_field_to_something_else_than_its_default(tmp_path: Path) -> None:
    settings = load(write(tmp_path, ALL), check_files=False)
    least = load(write(tmp_path, LEAST), check_files=False)
    unchanged = {
        field.name for field in fields(Settings) if getattr(settings, field.name) == getattr(least, field.name)
    }
    assert unchanged == set()


def test_null_means_the_default(tmp_path: Path) -> None:
    nulls = "mode: null\nlisten: null\nintervals: {poll: null}\nlimits: {nodes: {least: null}, environments: null}\ncontrol: null\nlifetimes: {notices: null}\npolicy: {nodes: null, owner: null}\nnotify: null\nprices: null\n"
    assert load(write(tmp_path, LEAST + nulls), check_files=False) == load(write(tmp_path, LEAST), check_files=False)


def test_the_shipped_sample_is_sound() -> None:
    sample = load(REPOSITORY / "systemd" / "hivequeen.yml", check_files=False)
    assert sample.mode is Mode.OBSERVE


def test_what_the_shipped_sample_only_mentions_is_sound_too(tmp_path: Path) -> None:
    text = (REPOSITORY / "systemd" / "hivequeen.yml").read_text()
    shown, heading, mentioned = text.partition("# What else can be set")
    assert heading
    uncommented = "".join(f"{line.removeprefix('#').removeprefix(' ')}\n" for line in mentioned.splitlines()[1:])
    settings = load(write(tmp_path, shown + uncommented), check_files=False)
    assert settings.policy.protected == ("production",)
    assert [receiver.name for receiver in settings.notify] == ["chat"]
    assert settings.lifetimes == Lifetimes()
    assert settings.teardown == TeardownSettings()


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://git.example.com/ops/envs.git", "https://git.example.com/ops/envs.git"),
        ("ssh://git@git.example.com:22/envs.git", "ssh://git@git.example.com:22/envs.git"),
        ("git@git.example.com:ops/envs.git", "git@git.example.com:ops/envs.git"),
        ("/srv/envs.git", "/srv/envs.git"),
        ("file:///srv/envs.git", "/srv/envs.git"),
        ("envs.git", "{folder}/envs.git"),
        ("./envs.git", "{folder}/envs.git"),
        ("a/b:c", "{folder}/a/b:c"),
    ],
)
def test_repositories_that_are_followed(tmp_path: Path, url: str, read: str) -> None:
    settings = load(write(tmp_path, changed("/srv/envs.git", f'"{url}"')), check_files=False)
    assert settings.repository.url == read.format(folder=tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "http://git.example.com/envs.git",
        "git://git.example.com/envs.git",
        "ext::sh -c 'touch x'",
        "fd::17",
        "file://host/envs.git",
        "file:envs.git",
        "-oProxyCommand=x",
        "--upload-pack=x",
        "ssh://-oProxyCommand=x/envs.git",
        "git@-oProxyCommand=x:envs.git",
        "-x@host:envs.git",
        "https://-x/envs.git",
        "host:envs.git",
        "git@host:",
        "git@host::envs.git",
        "a b://x",
    ],
)
def test_repositories_that_are_refused(tmp_path: Path, url: str) -> None:
    [problem] = problems(tmp_path, changed("/srv/envs.git", f'"{url}"'))
    assert problem.startswith("2: repository.url ")
    assert problem.endswith("(write https://…, ssh://…, git@host:path or a local path)")


def test_a_password_in_an_address_is_not_repeated(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, changed("/srv/envs.git", "http://ops:hunter2@git.example.com/x.git"))
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("line", "by", "expected"),
    [
        (
            "fleet: demo",
            "fleet: My_Fleet",
            '1: fleet must be lower-case letters, digits and single hyphens, a letter first, not "My_Fleet"',
        ),
        ("fleet: demo", "flet: demo", None),
        (
            "fleet: demo",
            "fleet: demo\nmode: converg",
            '2: mode must be one of "observe", "converge", not "converg" (did you mean "converge"?)',
        ),
        (
            "region: us-east-1",
            "region: Virginia",
            '3: aws.region must be a region such as us-east-1, not "Virginia"',
        ),
        (
            "region: us-east-1",
            "region: us-east-1, account_id: 123456789012",
            (
                "3: aws.account_id must be an account id of 12 digits, in quotes, not the number 123456789012 "
                '(quote it: "123456789012")'
            ),
        ),
        (
            "region: us-east-1",
            "region: us-east-1, account_id: 012345678901",
            (
                "3: aws.account_id: 012345678901 is a number to some YAML readers and text or another number to others "
                '(quote it to mean text: "012345678901"; or write a plain decimal number)'
            ),
        ),
        (
            '"https://chef/organizations/acme"',
            "chef.example.com",
            (
                "4: chef.server_url must be an address such as https://chef.example.com/organizations/acme, "
                'not "chef.example.com"'
            ),
        ),
        ("client_name: hivequeen, ", "", "4: chef.client_name is missing (add it)"),
        (
            "client_name: hivequeen",
            "client_name: hivequeen, interval: 30",
            "4: chef.interval must be a duration longer than nothing, such as 15s, 5m, 1h or 14d, not the number 30",
        ),
        (
            "client_name: hivequeen",
            "client_name: hivequeen, interval: 0m",
            '4: chef.interval must be a duration longer than nothing, such as 15s, 5m, 1h or 14d, not "0m"',
        ),
        (
            '"https://10.0.0.5:9465"',
            '"http://10.0.0.5:9465"',
            (
                '5: bootstrap.url "http://10.0.0.5:9465" is plain HTTP on an address that is not loopback '
                "(use https, or set bootstrap.insecure: true where nobody can listen in)"
            ),
        ),
        (
            "fleet: demo",
            "fleet: demo\nlisten: {operators: '0.0.0.0:9465', nodes: '0.0.0.0:9465'}",
            (
                "2: listen.operators and listen.nodes are both 0.0.0.0:9465 "
                "(nodes must not reach the operators' listener: use two ports)"
            ),
        ),
        (
            "fleet: demo",
            "fleet: demo\nlisten: {nodes: '[::]:70000'}",
            '2: listen.nodes "[::]:70000": a port is at most 65535',
        ),
        (
            "fleet: demo",
            "fleet: demo\nlisten: {nodes: '9465'}",
            '2: listen.nodes must be host:port, such as 127.0.0.1:9464, not "9465"',
        ),
        (
            "fleet: demo",
            "fleet: demo\ncontrol: run/control.sock",
            '2: control must be an absolute path, such as /run/hivequeen/control.sock, not "run/control.sock"',
        ),
        (
            "fleet: demo",
            "fleet: demo\nstate: postgresql://x",
            '2: state must be an SQLite file, such as sqlite:////var/lib/hivequeen/state.db, not "postgresql://x"',
        ),
        (
            "fleet: demo",
            'fleet: demo\nstate: "sqlite:///:memory:"',
            '2: state must be an SQLite file, such as sqlite:////var/lib/hivequeen/state.db, not "sqlite:///:memory:"',
        ),
        (
            "fleet: demo",
            "fleet: demo\ndeadlines: {launch: 1h, bootstrap: 30m}",
            (
                "2: deadlines.launch is longer than deadlines.bootstrap: 1h and 30m "
                "(both count from the launch, so make bootstrap the longer one)"
            ),
        ),
        ("fleet: demo", "fleet: demo\nlimits: {nodes: {share: 10}}", "2: limits.nodes.share must be at most 1, not 10"),
        (
            "fleet: demo",
            "fleet: demo\nlifetimes: {default_ttl: 30d, maximum_ttl: 1d}",
            (
                "2: lifetimes.default_ttl is longer than lifetimes.maximum_ttl: 30d and 1d "
                "(make the maximum the longer one)"
            ),
        ),
        (
            "fleet: demo",
            "fleet: demo\npolicy: {schema: {type: thing}}",
            (
                "2: policy.schema.type is not valid JSON Schema: 'thing' is not valid under any of the given schemas "
                "(correct it, or remove it)"
            ),
        ),
        (
            "fleet: demo",
            'fleet: demo\npolicy: {schema: {properties: {x: {$ref: "https://example.com/x"}}}}',
            (
                '2: policy.schema.properties.x.$ref "https://example.com/x" leads nowhere in this schema '
                "(refer to a part of it, such as #/$defs/name)"
            ),
        ),
        (
            "fleet: demo",
            'fleet: demo\npolicy: {schema: {$defs: {a: {}}, allOf: [{$ref: "#/$defs/a"}, {$ref: "#/$defs/b"}]}}',
            (
                '2: policy.schema.allOf.1.$ref "#/$defs/b" leads nowhere in this schema '
                "(refer to a part of it, such as #/$defs/name)"
            ),
        ),
        (
            "fleet: demo",
            "fleet: demo\nnotify: [{name: a, url_file: a, on: [ready]}, {name: a, url_file: a, on: [held]}]",
            '2: two receivers have the name "a" (rename one)',
        ),
        (
            "fleet: demo",
            "fleet: demo\nnotify: [{url_file: a, on: [readdy]}]",
            (
                '2: item 1 of notify.0.on must be one of "ready", "stalled", "held", "expiring", "torn_down", '
                'not "readdy" (did you mean "ready"?)'
            ),
        ),
        (
            "fleet: demo",
            "fleet: demo\npolicy: {nodes: {totl: 3}}",
            '2: unknown key "totl" (did you mean "total"?)',
        ),
        ("fleet: demo", "fleet: demo\nconcurrency: 0", "2: concurrency must be at least 1, not 0"),
        ("fleet: demo", "fleet: demo\nintervals: {resnc: 5m}", '2: unknown key "resnc" (did you mean "resync"?)'),
        ("fleet: demo", "fleet: demo\npoll: 5s", '2: unknown key "poll" (it belongs to the section intervals)'),
        (
            "{url: /srv/envs.git}",
            "{url: /srv/envs.git, path: ../x}",
            (
                "2: repository.path must be a folder relative to the top of the repository, such as environments.d, "
                'not "../x"'
            ),
        ),
        (
            "{url: /srv/envs.git}",
            "{url: /srv/envs.git, branch: --upload-pack=x}",
            '2: repository.branch must be the name of a git branch, not "--upload-pack=x"',
        ),
    ],
)
def test_one_wrong_setting_is_one_line(tmp_path: Path, line: str, by: str, expected: str | None) -> None:
    told = problems(tmp_path, changed(line, by))
    if expected is None:
        assert told == ["1: fleet is missing (add it)", '1: unknown key "flet" (did you mean "fleet"?)']
    else:
        assert told == [expected]


def test_tls_is_needed_where_nodes_come_by_https(tmp_path: Path) -> None:
    without = LEAST.partition("tls:")[0]
    assert problems(tmp_path, without) == [
        "5: tls is missing, but bootstrap.url is https (add tls: {certificate: …, key: …})"
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_plain_http_is_allowed_on_loopback(tmp_path: Path, host: str) -> None:
    text = LEAST.partition("tls:")[0].replace("https://10.0.0.5:9465", f"http://{host}:9465")
    text += f"listen: {{nodes: '{host}:9465'}}\n"
    assert load(write(tmp_path, text), check_files=False).tls is None


def test_plain_http_for_loopback_may_not_be_served_to_others(tmp_path: Path) -> None:
    text = LEAST.partition("tls:")[0].replace("https://10.0.0.5:9465", "http://127.0.0.1:9465")
    assert problems(tmp_path, text + "listen: {nodes: '0.0.0.0:9465'}\n") == [
        (
            "6: without tls, listen.nodes 0.0.0.0:9465 serves plain HTTP on an address that is not loopback "
            "(add tls, or listen on 127.0.0.1)"
        )
    ]


def test_plain_http_elsewhere_must_be_asked_for(tmp_path: Path) -> None:
    text = LEAST.partition("tls:")[0].replace('"https://10.0.0.5:9465"', '"http://10.0.0.5:9465", insecure: true')
    assert load(write(tmp_path, text), check_files=False).bootstrap.insecure


def test_all_problems_are_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    told = problems(tmp_path, "flet: x\nmode: y\nmode: z\nrepository: {url: 'ext::x'}\nconcurrency: on\n")
    assert [problem.partition(":")[0] for problem in told] == ["1", "1", "1", "1", "1", "2", "3", "4", "5"]


def test_a_file_that_is_no_yaml_is_one_line(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, "fleet: [\n")
    assert "not valid YAML" in problem


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path / "nothing.yml")
    assert caught.value.problems == (f"{tmp_path}/nothing.yml: there is no such file {REMEDY}",)


@pytest.mark.parametrize("content", ["", "\n", "# nothing yet\n"])
def test_a_file_without_settings_says_what_to_put_there(tmp_path: Path, content: str) -> None:
    path = tmp_path / "hivequeen.yml"
    path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert caught.value.problems == (f"{path}: the file is empty {REMEDY}",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("control: /run/mine.sock\nmode: explode\n", "/run/mine.sock"),
        ("mode: explode\n", "/run/hivequeen/control.sock"),
        ("control: 7\n", None),
        ("control: [\n", None),
        ("", None),
    ],
)
def test_the_control_socket_is_found_in_settings_that_are_wrong_elsewhere(
    tmp_path: Path, content: str, expected: str | None
) -> None:
    path = tmp_path / "hivequeen.yml"
    path.write_text(content)
    assert control_of(path) == (Path(expected) if expected else None)
    assert control_of(tmp_path / "missing.yml") is None


# --- files that are named -------------------------------------------------------------------------------------------

NAMED = (
    *("git.key", "hosts", "signers", "chef.pem", "ca.pem", "aws.pem", "tls-ca.pem", "tls.crt", "tls.key"),
    *("chat.url", "chat.secret", "prices.json"),
)


def test_every_named_file_must_be_there(tmp_path: Path) -> None:
    told = problems(tmp_path, ALL, check_files=True)
    assert len(told) == len(NAMED) + 1  # the chat's address is named twice
    assert told[3] == (
        f"5: chef.ca_certificate: {tmp_path}/ca.pem cannot be read: No such file or directory "
        "(correct the path, or put the file there)"
    )
    for name in NAMED:
        (tmp_path / name).write_text("x")
    assert load(write(tmp_path, ALL)).fleet == "demo-1"


def test_a_folder_is_not_a_key(tmp_path: Path) -> None:
    for name in NAMED:
        (tmp_path / name).write_text("x")
    (tmp_path / "tls.key").unlink()
    (tmp_path / "tls.key").mkdir()
    [problem] = problems(tmp_path, ALL, check_files=True)
    assert problem.startswith(f"14: tls.key: {tmp_path}/tls.key is not a file")


# --- laws -----------------------------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=5),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=3), values, max_size=2),
    max_leaves=3,
)
PLACES: list[tuple[str, ...]] = [
    (section, *rest)
    for section, value in yaml.safe_load(ALL).items()
    for rest in ([()] if not isinstance(value, dict) else [(), *((key,) for key in value)])
]


@given(st.sampled_from(PLACES), ANYTHING)
def test_whatever_stands_anywhere_is_read_or_told(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, ...], value: Any
) -> None:
    tree = yaml.safe_load(ALL)
    section = tree
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    path = write(tmp_path_factory.mktemp("settings"), yaml.safe_dump(tree))
    try:
        load(path, check_files=False)
    except SettingsError as error:
        assert error.problems  # noqa: PT017 - either outcome is right, any other exception is not
