import os
import subprocess
import sys
from pathlib import Path

import pytest

from reconciler.daemon.lock import Lock
from reconciler.errors import Stalled


def test_a_second_holder_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "state.db.lock"
    with Lock(path), pytest.raises(Stalled, match=f"pid {os.getpid()}"):
        Lock(path).take()
    with Lock(path):
        pass


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "state.db.lock"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                f"import sys; from pathlib import Path; from reconciler.daemon.lock import Lock; "
                f"Lock(Path({str(path)!r})).take(); print('held', flush=True); sys.stdin.read()"
            ),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Stalled, match=f"pid {holder.pid}"):
            Lock(path).take()
        holder.kill()
        holder.wait(10)
        with Lock(path):
            pass


def test_a_folder_that_is_missing_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(Stalled, match="cannot lock") as caught:
        Lock(tmp_path / "missing" / "lock").take()
    assert "state" in caught.value.remedy


def test_a_planted_symlink_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Stalled):
        Lock(tmp_path / "lock").take()
    assert not (tmp_path / "elsewhere").exists()
