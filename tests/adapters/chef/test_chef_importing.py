"""PyChef is imported clean, and leaves nothing behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# Needs only what has no compiled part, so that one environment's packages serve other interpreters: the signer, which
# is the only user of `cryptography`, is a stand-in here.
ELSEWHERE = """
import sys, types
package = types.ModuleType("reconciler.adapters.chef")
package.__path__ = [sys.argv[1]]
signing = types.ModuleType("reconciler.adapters.chef.signing")
signing.Key = type("Key", (), {"key": "a key"})
KEY = signing.Key()
signing.SSLError = type("SSLError", (Exception,), {})
sys.modules |= {package.__name__: package, signing.__name__: signing}
"""

HERE = """
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
KEY = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
"""

CHECK = """
import collections.abc, sys
names = set(vars(collections))
from reconciler.adapters.chef import importing
assert "pkg_resources" not in sys.modules, "pkg_resources is left behind"
assert set(vars(collections)) == names, "collections is changed"
api = importing.ChefAPI("http://127.0.0.1:1", KEY, "somebody")
node = importing.Node("web", api=api, skip_load=True)
node.normal["a"] = {"b": 1}
assert node.normal.get_dotted("a.b") == 1, "the old names of collections are missing at run time"
bag = sys.modules["chef"].DataBagItem("bag", "item", api=api, skip_load=True)
assert dict(bag) == {}
print("ok")
"""


def run(interpreter: str, code: str, *arguments: str, path: str) -> str:
    done = subprocess.run(
        [interpreter, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    return done.stdout.strip() or done.stderr


def interpreter_of(version: str) -> str:
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    # pyenv's shim on the PATH stands there for versions that are not chosen, too, and fails.
    for found in filter(None, (shutil.which(f"python{version}"), *map(str, pyenv))):
        if subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return found
    pytest.skip(f"no Python {version} on this machine")


def test_pychef_imports_clean_here() -> None:
    assert run(sys.executable, HERE + CHECK, path=str(ROOT)) == "ok"


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_pychef_imports_clean_on(version: str) -> None:
    chef = str(ROOT / "reconciler" / "adapters" / "chef")
    site_packages = Path(pytest.__file__).parents[1]
    code = ELSEWHERE + CHECK
    assert run(interpreter_of(version), code, chef, path=f"{ROOT}{os.pathsep}{site_packages}") == "ok"


def test_pychef_imports_beside_a_real_pkg_resources() -> None:
    code = (
        "import sys, types; real = sys.modules['pkg_resources'] = types.ModuleType('pkg_resources')\n"
        "import reconciler.adapters.chef; assert sys.modules['pkg_resources'] is real; print('ok')"
    )
    assert run(sys.executable, code, path=str(ROOT)) == "ok"
