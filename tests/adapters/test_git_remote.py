"""The git adapter across a network: real TLS, an ssh stand-in that shows its arguments, servers that hang or refuse."""

import http.server
import os
import select
import shlex
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from reconciler.adapters.git import GitRepository
from reconciler.adapters.git_errors import fetch_failed, reason
from reconciler.adapters.git_process import Git
from reconciler.errors import SourceRejected, Stalled, Transient
from reconciler.settings import RepositorySettings
from tests.fakes.git_source import GitSource, make_key, run_git

PATH = os.environ["PATH"]


def make_certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = directory / "certificate.pem", directory / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


class Files(http.server.SimpleHTTPRequestHandler):
    """Git's plain-file protocol, for one user and password."""

    def do_GET(self) -> None:
        if self.path.startswith("/private") and self.headers["Authorization"] != "Basic YW5uOnMzY3JldA==":  # ann:s3cret
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/broken"):
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Not to the test's output."""


@contextmanager
def https_server(directory: Path, certificate: Path, key: Path) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(directory)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class TestHttps:
    @pytest.fixture
    def source(self, tmp_path: Path) -> GitSource:
        source = GitSource(tmp_path / "www" / "private")
        source.push({"a.yml": "1"})
        run_git(source.path, "update-server-info")
        return source

    def repository(self, tmp_path: Path, url: str, *, trusted: Path | None) -> GitRepository:
        trust = {"GIT_SSL_CAINFO": str(trusted)} if trusted else {}
        return GitRepository(RepositorySettings(url=url), tmp_path / "mirror", inherited={"PATH": PATH, **trust})

    def test_it_follows_with_a_password_that_only_the_mirrors_own_file_shows(
        self, source: GitSource, tmp_path: Path
    ) -> None:
        certificate, key = make_certificate(tmp_path)
        with https_server(tmp_path / "www", certificate, key) as port:
            url = f"https://ann:s3cret@127.0.0.1:{port}/private/source.git"
            repository = self.repository(tmp_path, url, trusted=certificate)
            assert repository.fetch() == source.tip
            revision = source.push({"b.yml": "2"})
            run_git(source.path, "update-server-info")
            assert repository.fetch() == revision
        with pytest.raises(Transient) as gone:
            repository.fetch()
        assert "s3cret" not in gone.value.message
        shown = [file for file in (tmp_path / "mirror").rglob("*") if file.is_file() and b"s3cret" in file.read_bytes()]
        assert shown == [tmp_path / "mirror" / "hivequeen" / "gitconfig"]

    @pytest.mark.parametrize(
        ("path", "remedy"),
        [
            ("ann:wrong@{host}/private/source.git", "valid user and token"),
            ("{host}/private/source.git", "valid user and token"),
            ("{host}/nothing.git", "correct repository.url"),
        ],
    )
    def test_what_a_person_must_mend_stalls(self, source: GitSource, tmp_path: Path, path: str, remedy: str) -> None:
        certificate, key = make_certificate(tmp_path)
        with https_server(tmp_path / "www", certificate, key) as port:
            url = f"https://{path.format(host=f'127.0.0.1:{port}')}"
            with pytest.raises(Stalled) as stalled:
                self.repository(tmp_path, url, trusted=certificate).fetch()
        assert remedy in stalled.value.remedy
        assert "wrong" not in stalled.value.message

    def test_an_unknown_authority_stalls(self, source: GitSource, tmp_path: Path) -> None:
        certificate, key = make_certificate(tmp_path)
        with https_server(tmp_path / "www", certificate, key) as port, pytest.raises(Stalled) as stalled:
            self.repository(tmp_path, f"https://127.0.0.1:{port}/private/source.git", trusted=None).fetch()
        assert "certificate" in stalled.value.remedy

    def test_a_server_in_trouble_is_tried_again(self, source: GitSource, tmp_path: Path) -> None:
        certificate, key = make_certificate(tmp_path)
        with https_server(tmp_path / "www", certificate, key) as port, pytest.raises(Transient, match="503"):
            self.repository(tmp_path, f"https://127.0.0.1:{port}/broken.git", trusted=certificate).fetch()


def stand_in_ssh(tmp_path: Path, script: str) -> dict[str, str]:
    """An environment whose `ssh` is this shell script."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (programs / "ssh").chmod(0o755)
    return {"PATH": f"{programs}:{PATH}"}


class TestSsh:
    def test_it_offers_one_key_to_known_hosts_only_and_asks_nothing(self, tmp_path: Path) -> None:
        source = GitSource(tmp_path / "upstream")
        source.push({"a.yml": "1"})
        said = tmp_path / "said"
        inherited = stand_in_ssh(
            tmp_path, f'printf "%s\\n" "$@" > {said}; env > {said}.env; for last; do :; done; exec sh -c "$last"'
        )
        folder = tmp_path / "with space; $(touch ran) 'and' 100%"
        repository = GitRepository(
            RepositorySettings(
                url=f"git@example.com:{source.path}", ssh_key=folder / "key", known_hosts=folder / "known_hosts"
            ),
            tmp_path / "mirror",
            inherited=inherited,
        )
        repository.fetch()
        arguments = said.read_text().splitlines()
        options = {arguments[at + 1] for at, argument in enumerate(arguments) if argument == "-o"}
        assert arguments[arguments.index("-i") + 1] == str(folder / "key")
        assert f'UserKnownHostsFile="{folder}/known_hosts"'.replace("%", "%%") in options
        assert {"BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"} <= options
        assert not (tmp_path / "ran").exists()
        environment = Path(f"{said}.env").read_text()
        assert "GIT_TERMINAL_PROMPT=0" in environment
        assert "LC_ALL=C" in environment

    def test_the_real_ssh_reads_the_files_names_as_they_are(self, tmp_path: Path) -> None:
        """`ssh -G` prints what it understood, and contacts nobody."""
        folder = tmp_path / "with space"
        settings = RepositorySettings(url="git@x:y", ssh_key=make_key(folder, "key"), known_hosts=folder / "100% known")
        from reconciler.adapters.git_config import ssh_command  # noqa: PLC0415 - only this test looks inside

        understood = subprocess.run(
            [*shlex.split(ssh_command(settings)), "-F", "/dev/null", "-G", "example.com"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout.splitlines()
        assert f"identityfile {folder}/key" in understood
        assert f"userknownhostsfile {folder}/100% known" in understood
        assert "batchmode yes" in understood
        assert "stricthostkeychecking true" in understood

    @pytest.mark.parametrize(
        ("says", "remedy"),
        [
            ("Host key verification failed.", "repository.known_hosts"),
            ("git@example.com: Permission denied (publickey).", "repository.ssh_key"),
            ("ERROR: Repository not found.", "correct repository.url"),
        ],
    )
    def test_what_a_person_must_mend_stalls(self, tmp_path: Path, says: str, remedy: str) -> None:
        inherited = stand_in_ssh(tmp_path, f"echo '{says}' >&2; exit 255")
        repository = GitRepository(
            RepositorySettings(url="ssh://git@example.com/x.git"), tmp_path / "mirror", inherited=inherited
        )
        with pytest.raises(Stalled) as stalled:
            repository.fetch()
        assert remedy in stalled.value.remedy

    def test_closing_ends_a_fetch_that_hangs_with_all_that_it_started(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "hanging")
        # Opening a FIFO waits for the other side: it says that ssh runs, without any sleep.
        inherited = stand_in_ssh(tmp_path, f"echo $$ > {tmp_path}/hanging; exec sleep 1000")
        repository = GitRepository(
            RepositorySettings(url="git@example.com:x.git"), tmp_path / "mirror", inherited=inherited
        )
        raised: list[BaseException] = []

        def fetch() -> None:
            try:
                repository.fetch()
            except Transient as transient:
                raised.append(transient)

        thread = threading.Thread(target=fetch)
        thread.start()
        ssh = os.pidfd_open(int((tmp_path / "hanging").read_text()))
        repository.close()
        thread.join(10)
        ended, _, _ = select.select([ssh], [], [], 10)
        os.close(ssh)
        assert ended
        assert not thread.is_alive()
        assert len(raised) == 1

    def test_reading_that_is_cut_proves_nothing_about_the_blobs(self, tmp_path: Path) -> None:
        source = GitSource(tmp_path / "upstream")
        source.push({"a.yml": "1"})
        settings, mirror = RepositorySettings(url=str(source.path)), tmp_path / "mirror"
        (entry,) = (before := GitRepository(settings, mirror)).tree(before.fetch())
        os.mkfifo(tmp_path / "hanging")
        programs = tmp_path / "bin"
        programs.mkdir()
        (programs / "git").write_text(f"#!/bin/sh\necho > {tmp_path}/hanging; exec sleep 1000\n")
        (programs / "git").chmod(0o755)
        repository = GitRepository(settings, mirror, inherited={"PATH": f"{programs}:{PATH}"})

        def close_when_it_hangs() -> None:
            (tmp_path / "hanging").read_text()
            repository.close()

        thread = threading.Thread(target=close_when_it_hangs)
        thread.start()
        with pytest.raises(Transient):
            repository.read([entry.blob], limit_bytes=10)
        thread.join(10)


class TestProcess:
    def test_a_command_that_takes_too_long_is_ended(self, tmp_path: Path) -> None:
        git = Git(tmp_path, {"PATH": PATH})
        with pytest.raises(Transient, match="longer than"):
            git.run("-c", "alias.hang=!sleep 1000", "hang", timeout_s=0.1)

    def test_one_that_ignores_a_polite_request_is_ended_too(self, tmp_path: Path) -> None:
        git = Git(tmp_path, {"PATH": PATH})
        with pytest.raises(Transient):
            git.run("-c", "alias.hang=!trap '' TERM; while :; do sleep 1000; done", "hang", timeout_s=0.1)

    def test_what_is_read_piece_by_piece_ends_in_time_too(self, tmp_path: Path) -> None:
        git = Git(tmp_path, {"PATH": PATH})
        with git.stream("-c", "alias.hang=!echo a; sleep 1000", "hang", lines=(), timeout_s=0.3) as output:
            assert output.stdout.read() == b"a\n"
            assert output.is_cut()

    def test_without_git_it_stalls(self, tmp_path: Path) -> None:
        with pytest.raises(Stalled, match="not installed"):
            Git(tmp_path, {"PATH": str(tmp_path)}).run("version", timeout_s=1)

    def test_a_long_list_of_questions_does_not_block(self, tmp_path: Path) -> None:
        source = GitSource(tmp_path / "upstream", folder=".")
        source.push({"a": "x" * 3000})
        blob = run_git(source.path, "rev-parse", "main:a")
        git = Git(source.path, {"PATH": PATH})
        with git.stream("cat-file", "--batch", "--buffer", lines=[blob] * 5000, timeout_s=30) as output:
            assert output.stdout.read().count(b"blob 3000\n") == 5000
            assert not output.is_cut()


class TestWords:
    def test_the_reason_is_the_line_that_tells(self) -> None:
        said = """ssh: connect to host example.com port 22: Connection refused
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"""
        assert reason(said) == "ssh: connect to host example.com port 22: Connection refused"
        assert reason("") == "git said nothing"
        assert reason("something else\n") == "something else"
        assert reason("fatal: early EOF\n") == "fatal: early EOF"

    def test_no_credential_of_any_url_is_told(self) -> None:
        said = "fatal: unable to access 'https://ann:s3cret@example.com/x/': ssh://tok3n@y"
        assert reason(said) == "fatal: unable to access 'https://***@example.com/x/': ssh://***@y"

    def test_signs_of_damage_come_before_signs_of_refusal(self) -> None:
        settings = RepositorySettings(url="git@example.com:x")
        trouble = fetch_failed(
            "error: Permission denied\nremote: aborting due to possible repository corruption on the remote side.\n",
            settings,
        )
        assert isinstance(trouble, SourceRejected)
