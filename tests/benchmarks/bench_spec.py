"""Figures of reading 1,000 environments that extend one template. Run: python -m tests.benchmarks.bench_spec"""

import time
from collections.abc import Mapping

from reconciler.spec import SpecReader
from tests.spec.revision import CHECKOUT, PRODUCTION, Revision, reader

ENVIRONMENTS = 1000
ROUNDS = 5
COLD_MS_MAX = 500
ONE_CHANGE_MS_MAX = 20

Files = Mapping[str, str | bytes]


def extended(parent: str) -> Files:
    """Six lines each, which extend `parent`."""
    own = CHECKOUT.replace("extends: production", f"extends: {parent}")
    return {
        f"feature-{number:04}.yml": own.replace("checkout-redesign", f"feature-{number:04}")
        for number in range(ENVIRONMENTS)
    }


def main() -> None:
    print(f"{ENVIRONMENTS} environments, CPU time, best of {ROUNDS}, hashing in the harness included")
    plain: Files = {"production.yml": PRODUCTION}
    measure("one template", plain, {"production.yml": PRODUCTION.replace("workers: 8", "workers: 9")}, "production")
    chain: Files = {
        "_base.yml": PRODUCTION,
        "_large.yml": "extends: _base\nschedule: {stop: 0 20 * * 1-5, start: 0 7 * * 1-5, timezone: Europe/Berlin}\n"
        "defaults: {root_volume: {size: 40}}\nroles: {web: {attributes: {unicorn: {workers: 16}}}}\n",
        "_team.yml": "extends: _large\ndefaults: {tags: {team: shop}}\n",
    }
    measure("a chain of three", chain, {"_base.yml": PRODUCTION.replace("workers: 8", "workers: 9")}, "_team")
    variables = PRODUCTION.replace("defaults:", 'defaults:\n  tags: {url: "https://${environment}.example.com"}')
    variables = variables.replace("timeout: 30", 'timeout: 30, branch: "${branch}"')
    measure(
        "one template with variables",
        {"_base.yml": variables},
        {"_base.yml": variables.replace("workers: 8", "workers: 9")},
        "_base",
    )


def measure(what: str, above: Files, changed_above: Files, parent: str) -> None:
    files = {**above, **extended(parent)}
    one = {
        "feature-0500.yml": CHECKOUT.replace("extends: production", f"extends: {parent}").replace(
            "count: 1", "count: 2"
        )
    }
    cold, unchanged, one_child, all_children = [], [], [], []
    for _ in range(ROUNDS):
        spec = reader()
        cold.append(timed_ms(Revision(files), spec))
        unchanged.append(timed_ms(Revision(files), spec))
        one_child.append(timed_ms(Revision({**files, **one}), spec))
        all_children.append(timed_ms(Revision({**files, **changed_above}), spec))
    assert not Revision(files).read_with(reader()).findings
    print(f"{what}")
    print(f"  cold                       {min(cold):7.1f} ms{verdict(min(cold), COLD_MS_MAX)}")
    print(f"  nothing changed            {min(unchanged):7.1f} ms")
    print(f"  one environment changed    {min(one_child):7.1f} ms{verdict(min(one_child), ONE_CHANGE_MS_MAX)}")
    print(f"  what all of them extend    {min(all_children):7.1f} ms")


def timed_ms(revision: Revision, spec: SpecReader) -> float:
    start = time.process_time()  # all of it is computing; whatever else the machine does is left out
    revision.read_with(spec)
    return (time.process_time() - start) * 1000


def verdict(figure: float, most: float) -> str:
    return f"   ({'within' if figure <= most else 'ABOVE'} {most} ms)"


if __name__ == "__main__":
    main()
