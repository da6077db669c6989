"""The demo: what `script/demo` runs once everything is set up. It uses Hivequeen as anybody would, by git and commands."""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

import boto3
import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table

from reconciler.adapters.chef import PyChefServer
from reconciler.adapters.clock import SystemClock
from reconciler.settings import Settings, load

ROOT: Final = Path(__file__).resolve().parent.parent
HIVEQUEEN: Final = str(Path(sys.executable).with_name("hivequeen"))
STEP_S: Final = 90  # no step of the story takes this long
FOLDER: Final = "environments.d"
FEATURE: Final = """\
extends: production
owner: you@example.com
branch: my-feature
roles:
  web: { count: 1 }
  worker: { count: 1 }
"""
LAUNCH: Final = ("launch", "trial", "--from", "production", "--ttl", "7d", "--set", "roles.web.count=1")
RACE: Final = """\
#!/bin/sh
rm {hook}
unset $(git rev-parse --local-env-vars)
exec git -C {colleague} push --quiet
"""

console = Console(highlight=False)


class Demo:
    """A throw-away world in one folder: bare repository, clone, sandbox and daemon."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clone = directory / "envs"
        self.colleague = directory / "envs-of-tomas"
        self.config = directory / "sandbox" / "hivequeen.yml"
        self.pushed_at = 0.0
        self._held = ExitStack()
        self._processes: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        with self._held:
            self._start()
            self._held = self._held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _start(self) -> None:
        source = self.directory / "envs.git"
        self._git(self.directory, "init", "--quiet", "--bare", "--initial-branch=main", str(source))
        self._git(self.directory, "init", "--quiet", "--initial-branch=main", str(self.clone))
        self._git(self.clone, "remote", "add", "origin", str(source))
        self._introduce(self.clone, "You")
        shutil.copytree(ROOT / FOLDER, self.clone / FOLDER)
        self.push("The sample environments")
        self._run("sandbox", "sandbox", "--directory", str(self.config.parent), "--repository", str(source))
        self._wait_for("the sandbox", self.config.exists)
        self.pushed_at = time.monotonic()  # for the daemon, which sees the repository from now on
        self._run("daemon", "--config", str(self.config), "run")
        self._wait_for("the daemon", lambda: self.ask("status").get("last_pass_at") is not None)

    def _run(self, name: str, *arguments: str) -> None:
        """Start `hivequeen …` beside us; it ends when we do."""
        log = self._held.enter_context((self.directory / f"{name}.log").open("w"))
        credentials = {"AWS_ACCESS_KEY_ID": "sandbox", "AWS_SECRET_ACCESS_KEY": "sandbox"}
        process = subprocess.Popen(
            [HIVEQUEEN, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **credentials, "AWS_EC2_METADATA_DISABLED": "true"},
            start_new_session=True,  # Ctrl-C is ours: we stop it in order
        )
        self._held.callback(self._stop, process)
        self._processes.append((name, process))

    @staticmethod
    def _stop(process: "subprocess.Popen[bytes]") -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait_for(self, what: str, is_there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + STEP_S
        while not is_there():
            self.check_alive()
            if time.monotonic() > deadline:
                raise SystemExit(f"{what} did not start; its log is in {self.directory}")
            time.sleep(0.1)

    def check_alive(self) -> None:
        """Stop if one of our processes did."""
        for name, process in self._processes:
            if process.poll() is not None:
                raise SystemExit(f"the {name} ended:\n{(self.directory / f'{name}.log').read_text()}")

    @staticmethod
    def _git(directory: Path, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=directory, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()

    def _introduce(self, clone: Path, name: str) -> None:
        """Who commits there. What the visitor has set up for their own work, keys and hooks, stays out of it."""
        own = {"user.name": name, "user.email": f"{name.lower()}@example.com"}
        for key, value in {**own, "commit.gpgSign": "false", "core.hooksPath": str(clone / ".git/hooks")}.items():
            self._git(clone, "config", key, value)

    # --- what a person does ---

    def write(self, name: str, text: str) -> None:
        (self.clone / FOLDER / f"{name}.yml").write_text(text)

    def delete(self, name: str) -> None:
        (self.clone / FOLDER / f"{name}.yml").unlink()

    def push(self, message: str) -> None:
        self._git(self.clone, "add", "--all")
        self._git(self.clone, "commit", "--quiet", "--message", message)
        self._git(self.clone, "push", "--quiet", "--set-upstream", "origin", "main")

    def pull(self) -> None:
        self._git(self.clone, "pull", "--quiet", "--rebase")

    def let_tomas_be_faster(self) -> str:
        """Tomas commits in a clone of his own, and pushes it when the next push of ours is on its way. His commit."""
        self._git(self.directory, "clone", "--quiet", str(self.directory / "envs.git"), str(self.colleague))
        self._introduce(self.colleague, "Tomas")
        (self.colleague / "README.md").write_text("One file is one environment.\n")
        self._git(self.colleague, "add", "README.md")
        self._git(self.colleague, "commit", "--quiet", "--message", "Say what this is")
        hook = self.clone / ".git/hooks/pre-push"  # git runs it after our commit was made, before it is sent
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(RACE.format(hook=shlex.quote(str(hook)), colleague=shlex.quote(str(self.colleague))))
        hook.chmod(0o755)
        return self._git(self.colleague, "rev-parse", "HEAD")

    def pushed(self) -> list[tuple[str, str]]:
        """The commits of the repository, newest first: author and id."""
        told = self._git(self.directory / "envs.git", "log", "--format=%an %H", "main")
        return [(author, commit) for author, _, commit in (line.partition(" ") for line in told.splitlines())]

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [HIVEQUEEN, "--config", str(self.config), *arguments],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def ask(self, *arguments: str) -> Mapping[str, Any]:
        """A command's JSON; empty while there is no answer."""
        answer = self.command(*arguments, "--format", "json")
        return json.loads(answer.stdout) if answer.stdout.startswith("{") else {}


# --- the unattended story ---------------------------------------------------------------------------------------------


class Witness:
    """EC2 and Chef, asked directly: what Hivequeen says of itself counts for nothing here."""

    def __init__(self, settings: Settings) -> None:
        self._ec2 = boto3.client(
            "ec2",
            endpoint_url=settings.aws.endpoint_url,
            region_name=settings.aws.region,
            aws_access_key_id="witness",
            aws_secret_access_key="witness",  # noqa: S106  the sandbox looks at none
        )
        self._chef = PyChefServer(
            settings=settings.chef, fleet=settings.fleet, clock=SystemClock(), count=lambda *_: None
        )

    def _running(self) -> Iterator[tuple[Mapping[str, Any], str, str]]:
        """Instances, each with its environment and role."""
        for page in self._ec2.get_paginator("describe_instances").paginate():
            for reservation in page["Reservations"]:
                for instance in reservation["Instances"]:
                    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
                    if instance["State"]["Name"] == "running":
                        yield instance, tags["hivequeen:environment"], tags["hivequeen:role"]

    def instances(self) -> Mapping[str, str]:
        """Running ones: id → `environment/role`."""
        return {instance["InstanceId"]: f"{name}/{role}" for instance, name, role in self._running()}

    def make_up(self, environment: str) -> Mapping[str, set[tuple[str, ...]]]:
        """By role, what its nodes consist of: the image, then what Chef runs there, its roles expanded."""
        nodes, roles = self._chef.nodes(), self._chef.roles()
        expanded = {f"role[{name}]": role.run_list for name, role in roles.items()}
        found = defaultdict(set)
        for instance, name, role in self._running():
            if name == environment:
                node = nodes[f"{name}-{role}-{instance['InstanceId'].removeprefix('i-')}"]
                recipes = [recipe for item in node.run_list for recipe in expanded.get(item, (item,))]
                found[role].add((instance["ImageId"], *recipes))
        return found

    def counts(self) -> Mapping[str, int]:
        return Counter(self.instances().values())

    def is_ready(self) -> bool:
        """Every running instance is a Chef node that has converged, and Chef knows no other node or client."""
        names = {f"{where.replace('/', '-')}-{one.removeprefix('i-')}" for one, where in self.instances().items()}
        nodes = self._chef.nodes()
        clients = {name for name in self._chef.clients() if not name.startswith(("hivequeen", "chef-"))}
        return set(nodes) == names == clients and all(node.ohai_time for node in nodes.values())

    def generated(self) -> set[str]:
        """Names of Chef roles and environments."""
        return {*self._chef.roles(), *self._chef.environments()} - {"_default"}


class Story:
    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._witness = Witness(load(demo.config))
        self._want = {
            f"{name}/{role}": count
            for name, roles in declared(demo.clone / FOLDER).items()
            for role, count in roles.items()
        }

    def tell(self) -> None:
        self._step("the sample environments converge", self._is_as_wanted)
        before = self._witness.instances()

        self._demo.write("my-feature", FEATURE)
        self._demo.push("Add my-feature")
        self._want |= {"my-feature/web": 1, "my-feature/worker": 1}
        self._step("a committed six-line file becomes an environment", self._is_as_wanted)
        self._check_likeness("my-feature")

        self._demo.write("my-feature", FEATURE.replace("web: { count: 1 }", "web: { count: 3 }"))
        self._demo.push("Scale my-feature")
        self._want["my-feature/web"] = 3
        self._step("a larger count launches what lacks", self._is_as_wanted)
        scaled = self._witness.instances()

        self._demo.write("my-feature", FEATURE.replace("branch:", "brunch:"))
        self._demo.push("Break my-feature")
        self._step("a broken file is said, with its line and remedy", self._is_broken_file_said)
        self._check("and changes nothing", self._witness.instances() == scaled)

        self._demo.delete("my-feature")
        self._demo.push("Delete my-feature")
        del self._want["my-feature/web"], self._want["my-feature/worker"]
        self._step("a deleted file removes its nodes and its Chef objects", self._is_as_wanted)
        self._check("and nothing of anyone else's", self._witness.instances() == before)

        self._tell_commands(before)
        self._step("nothing is left to do", lambda: self._demo.command("plan").returncode == 0)

    def _tell_commands(self, before: Mapping[str, str]) -> None:
        """A life by command, in a person's clone."""
        file = self._demo.clone / FOLDER / "trial.yml"
        others = self._demo.let_tomas_be_faster()
        self._command(*LAUNCH, "--wait")
        self._want |= {"trial/web": 1, "trial/worker": 1}
        (author, _), (_, parent) = self._demo.pushed()[:2]
        self._check("somebody's push came first; ours was rebased onto it", (author, parent) == ("You", others))
        self._check("it is up when the command returns", self._is_as_wanted())
        self._check_likeness("trial")
        launched = self._witness.instances()

        self._demo.pull()
        lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
        self._check("its file has six lines", len(lines) == 6 and "ttl: 7d" in lines)  # noqa: PLR2004  as it says
        self._command("extend", "trial", "3d")
        self._check("its file says ten days", "ttl: 10d" in file.read_text().splitlines())
        newest = self._demo.pushed()[0][1]
        self._step(
            "the daemon has read it", lambda: self._demo.ask("show", "trial")["environment"]["revision"] == newest
        )
        self._check("and launched nothing", self._witness.instances() == launched)

        self._command("teardown", "trial", "--wait")
        del self._want["trial/web"], self._want["trial/worker"]
        self._check("its file is gone", not file.exists())
        self._check("so is all of it in EC2 and Chef", self._is_as_wanted())
        self._check("and nothing of anyone else's", self._witness.instances() == before)

    def _check_likeness(self, name: str) -> None:
        alike = self._witness.make_up(name) == self._witness.make_up("production")
        self._check("with production's roles, run lists and images, one node each", alike)

    def _command(self, *arguments: str) -> None:
        """As a person types it, in their clone; nobody is there to be asked."""
        typed = f"hivequeen {shlex.join(arguments)} --yes"
        began = time.monotonic()
        with console.status(typed):
            done = self._demo.command(*arguments, "--yes", "--repository", str(self._demo.clone))
        if done.returncode:
            console.print(done.stdout + done.stderr, markup=False)
            self._fail(typed)
        console.print(f"[green]✓[/] [bold]{typed}[/] [dim]{time.monotonic() - began:.1f} s[/]", soft_wrap=True)

    def _is_as_wanted(self) -> bool:
        roles = {key.replace("/", "-") for key in self._want}
        environments = {key.partition("/")[0] for key in self._want}
        is_counted = self._witness.counts() == self._want
        return is_counted and self._witness.is_ready() and self._witness.generated() == roles | environments

    def _is_broken_file_said(self) -> bool:
        found = [one for one in self._demo.ask("status").get("environments", ()) if one["name"] == "my-feature"]
        conditions = [one for environment in found for one in environment["conditions"] if one["type"] == "Stalled"]
        where = f"{FOLDER}/my-feature.yml:3"
        return any(one["status"] and where in one["message"] and "branch" in one["remedy"] for one in conditions)

    def _step(self, what: str, is_so: Callable[[], bool]) -> None:
        began = time.monotonic()
        with console.status(what):
            while not is_so():
                if time.monotonic() - began > STEP_S:
                    self._fail(what)
                time.sleep(0.2)
        console.print(f"[green]✓[/] {what} [dim]{time.monotonic() - began:.1f} s[/]")

    def _check(self, what: str, is_so: bool) -> None:  # noqa: FBT001  it reads as a sentence
        if not is_so:
            self._fail(what)
        console.print(f"[green]✓[/] {what}")

    def _fail(self, what: str) -> None:
        console.print(f"[red]✗[/] {what}")
        console.print("running:", dict(self._witness.counts()), "wanted:", self._want)
        console.print("in Chef:", sorted(self._witness.generated()))
        for command in ("status", "plan"):
            console.print(self._demo.command(command).stdout, markup=False)
        console.print((self._demo.directory / "daemon.log").read_text()[-4000:], markup=False)
        raise SystemExit(1)


def declared(folder: Path) -> Mapping[str, Mapping[str, int]]:
    """Counts by environment and role, as the sample files say them."""
    files = {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("*.yml")}
    counts: dict[str, dict[str, int]] = {}
    for name, spec in files.items():
        parent = files[spec["extends"]]["roles"] if "extends" in spec else {}
        counts[name] = {role: one["count"] for role, one in {**parent, **spec["roles"]}.items()}
    return counts


# --- watching ---------------------------------------------------------------------------------------------------------


def watch(demo: Demo) -> None:
    """Show every node on its way up, then say what to try, and stay until Ctrl-C."""
    began = demo.pushed_at
    with Live(console=console, refresh_per_second=8) as live:
        while True:
            status = demo.ask("status")
            demo.check_alive()
            live.update(picture(status, time.monotonic() - began))
            if status and all(is_up(one) for one in status["environments"]):
                break
            time.sleep(0.3)
    alias = f"{HIVEQUEEN} --config {demo.config}"
    metrics = f"curl -s http://{load(demo.config).listen.operators}/metrics | grep 'phase=\"ready\"'"
    console.print("\nEverything is up. Try this in another terminal:\n")
    for heading, commands in (
        ("", (f"cd {demo.clone}", f"alias hivequeen='{alias}'")),
        (
            "An environment like production, in six lines:",
            (
                f"hivequeen {shlex.join(LAUNCH)} --wait",
                "hivequeen explain trial",
                "hivequeen why trial",
            ),
        ),
        (
            "A change as a reviewer sees it, then for real:",
            (
                f"sed -i 's/count: 1/count: 3/' {FOLDER}/trial.yml && git commit -qam 'More web nodes'",
                "hivequeen plan --diff origin/main..HEAD",
                "git push -q && hivequeen status",
            ),
        ),
        (
            "And its end:",
            (
                "hivequeen teardown trial --wait",
                "hivequeen events trial",
                metrics,
            ),
        ),
    ):
        if heading:
            console.print(f"\n[dim]{heading}[/]")
        for command in commands:
            console.print(f"  [bold]{command}[/]", soft_wrap=True)
    console.print(f"\nCtrl-C ends it all and removes {demo.directory}.", soft_wrap=True)
    signal.pause()


def is_up(environment: Mapping[str, Any]) -> bool:
    return all(role["desired"] is None or role["ready"] >= role["desired"] for role in environment["roles"])


def picture(status: Mapping[str, Any], elapsed_s: float) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left")
    table.title = f"{elapsed_s:.0f} s since the daemon started"
    for heading in ("environment", "role", "ready", "nodes"):
        table.add_column(heading, header_style="dim")
    for environment in status.get("environments", ()):
        for number, role in enumerate(environment["roles"]):
            phases = ", ".join(f"{count} {phase}" for phase, count in sorted(role["phases"].items()) if count)
            ready = f"{role['ready']}/{role['desired']}"
            style = "green" if role["ready"] >= (role["desired"] or 0) else "cyan"
            table.add_row(environment["name"] if number == 0 else "", role["role"], f"[{style}]{ready}[/]", phases)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="script/demo", description="Hivequeen's main job on this machine, without AWS."
    )
    parser.add_argument("--check", action="store_true", help="tell the whole story unattended; exit 0 or 1")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal leaves nothing behind either
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="hivequeen-demo-") as directory:
        began = time.monotonic()
        try:
            console.print("starting the sandbox and the daemon…", style="dim")
            with Demo(Path(directory)) as demo:
                if options.check:
                    Story(demo).tell()
                else:
                    watch(demo)
        except KeyboardInterrupt:
            console.print("\nended; nothing is left")
            return
    console.print(f"the whole story in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
