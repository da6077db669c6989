"""Commits that the daemon makes: built in the bare mirror by plumbing, pushed only onto the revision they were made for."""

import tempfile
from pathlib import Path
from typing import Final

from reconciler.adapters import git_config, git_errors
from reconciler.adapters.git_mirror import LOCAL_TIMEOUT_S, Mirror
from reconciler.adapters.git_process import Git
from reconciler.errors import HivequeenError, Stalled
from reconciler.model.names import RevisionId
from reconciler.settings import RepositorySettings

PUSH_TIMEOUT_S: Final = 60.0

# A local repository's receiving end runs with our rights: neither its hooks nor a command of its configuration may.
_LOCAL_RECEIVER: Final = "git -c core.hooksPath=/dev/null -c core.alternateRefsCommand=true receive-pack"


def commit_removal(git: Git, mirror: Mirror, *, tip: RevisionId, path: str, identity: str, message: str) -> RevisionId:
    """A commit on top of `tip` without this one file; it lies in the mirror, and nothing points to it.

    Args:
        path: from the top of the repository.
        identity: "Name <email>".

    Raises:
        Stalled: the mirror cannot be written.
        Transient: it took too long.
    """
    name, _, email = identity.removesuffix(">").rpartition(" <")
    with tempfile.TemporaryDirectory(dir=mirror.home, prefix="commit-") as made:
        here = Path(made)
        variables = {
            "GIT_INDEX_FILE": str(here / "index"),
            **{f"GIT_{who}_NAME": name for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": email for who in ("AUTHOR", "COMMITTER")},
        }

        def ask(*arguments: str) -> str:
            answer = git.run(*arguments, timeout_s=LOCAL_TIMEOUT_S, variables=variables)
            if not answer.is_ok:
                raise Stalled(
                    f"no commit can be made in the mirror {mirror.directory}: {git_errors.reason(answer.stderr)}",
                    remedy="delete it; the next fetch makes it anew",
                )
            return answer.stdout.decode().strip()

        ask("read-tree", tip)
        ask(f"--work-tree={here}", "update-index", "--force-remove", "--", path)
        return RevisionId(ask("commit-tree", ask("write-tree"), "-p", tip, "-m", message))


def push(git: Git, settings: RepositorySettings, *, revision: RevisionId, onto: RevisionId) -> HivequeenError | None:
    """Make it the branch's newest one, if `onto` still is. What went wrong otherwise; a `Conflict` is a lost race.

    Raises:
        Transient: it took too long; the outcome is unknown.
    """
    branch = f"refs/heads/{settings.branch}"
    answer = git.run(
        *("push", "--porcelain", "--no-verify", f"--force-with-lease={branch}:{onto}"),
        *((f"--receive-pack={_LOCAL_RECEIVER}",) if settings.local_path else ()),
        *("--", git_config.REMOTE, f"{revision}:{branch}"),
        timeout_s=PUSH_TIMEOUT_S,
    )
    if answer.is_ok:
        return None
    return git_errors.push_failed(answer.stdout.decode(errors="replace"), answer.stderr, settings)
