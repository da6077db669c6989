"""A stand-in for cinc-client and chef-client: believes nothing but the files that the first-boot script wrote.

    client -c CLIENT_RB -j FIRST_BOOT_JSON -E ENVIRONMENT

Fails where HIVEQUEEN_TEST_FAILING names a recipe of the expanded run list.
"""

import argparse
import json
import os
import re
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from reconciler.sandbox.chef_run import ChefRun, RunFailed


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", dest="config", type=Path, required=True)
    parser.add_argument("-j", dest="json", type=Path)
    parser.add_argument("-E", dest="environment")
    options = parser.parse_args()
    config = dict(re.findall(r"^(\w+) '([^']*)'$", options.config.read_text(encoding="ascii"), re.MULTILINE))
    if options.config.parent.name == "chef" and config.get("chef_license") != "accept":
        print("FATAL: the license is not accepted")
        return 172
    key_file = Path(config["client_key"])
    if stat.S_IMODE(key_file.stat().st_mode) != stat.S_IRUSR | stat.S_IWUSR:
        print(f"FATAL: {key_file} is not the owner's alone")
        return 1
    pem = key_file.read_bytes()
    if not pem.startswith(b"-----BEGIN RSA PRIVATE KEY-----"):
        print("FATAL: the key's form is not the one that every Chef reads")
        return 1
    key = load_pem_private_key(pem, password=None)
    assert isinstance(key, RSAPrivateKey)
    run_list = tuple(json.loads(options.json.read_text())["run_list"]) if options.json else None
    print(f"umask {os.umask(0):03o}, argument from the environment: password=hunter2")
    try:
        ChefRun(
            server_url=config["chef_server_url"],
            name=config["node_name"],
            key=key,
            automatic={"platform": "debian"},
            now=lambda: datetime.now(UTC),
            fails=lambda recipe: recipe == os.environ.get("HIVEQUEEN_TEST_FAILING"),
            say=print,
        ).run(run_list=run_list, environment=options.environment)
    except RunFailed as error:
        print(f"FATAL: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
