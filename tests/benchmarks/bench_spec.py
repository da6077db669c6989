"""Figures of reading 1,000 environments that extend one file. Run: python -m tests.benchmarks.bench_spec"""

import time
from collections.abc import Callable

from tests.spec.revision import CHECKOUT, PRODUCTION, Revision, reader

ENVIRONMENTS = 1000
ROUNDS = 5


def timed_ms(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    files: dict[str, str | bytes] = {"production.yml": PRODUCTION}
    for number in range(ENVIRONMENTS):
        files[f"feature-{number:04}.yml"] = CHECKOUT.replace("checkout-redesign", f"feature-{number:04}")
    colds, unchanged, one_child, parent = [], [], [], []
    for number in range(ROUNDS):
        spec = reader()
        colds.append(timed_ms(lambda: Revision(files).read_with(spec)))  # noqa: B023 - called before the next round
        unchanged.append(timed_ms(lambda: Revision(files).read_with(spec)))  # noqa: B023 - as above
        changed = {**files, "feature-0500.yml": CHECKOUT.replace("checkout-redesign", f"round-{number}")}
        one_child.append(timed_ms(lambda: Revision(changed).read_with(spec)))  # noqa: B023 - as above
        grown = {**files, "production.yml": PRODUCTION.replace("workers: 8", f"workers: {number + 9}")}
        parent.append(timed_ms(lambda: Revision(grown).read_with(spec)))  # noqa: B023 - as above
    harness = timed_ms(lambda: [Revision({}).read_with(reader())])
    print(f"{ENVIRONMENTS} environments that extend one, best of {ROUNDS}, hashing in the harness included")
    print(f"  cold                 {min(colds):7.1f} ms")
    print(f"  nothing changed      {min(unchanged):7.1f} ms")
    print(f"  one file changed     {min(one_child):7.1f} ms")
    print(f"  their parent changed {min(parent):7.1f} ms")
    print(f"  an empty folder      {harness:7.1f} ms")


if __name__ == "__main__":
    main()
