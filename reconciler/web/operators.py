"""What monitoring reads: `/metrics`, `/healthz` (the loop moves) and `/readyz` (it can do its work; else what is wrong)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from reconciler.model.conditions import Condition, ConditionType
from reconciler.model.passes import Pass
from reconciler.report.reasons import ACCESS_DENIED

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that keeps the daemon from its work."""

    stage: str  # of the pass: "source", "observe"…; "start" before the first one
    message: str
    remedy: str
    environment: str | None

    def __str__(self) -> str:
        where = f"{self.environment}: " if self.environment else ""
        return f"{self.stage}: {where}{self.message}{f' ({self.remedy})' if self.remedy else ''}"


_NOT_YET: Final = Problem(stage="start", message="no full pass has ended yet", remedy="", environment=None)


def create_operators_app(
    *,
    metrics: Callable[[], bytes],
    progress_age_s: Callable[[], float],
    stuck_after_s: float,
    last_full_pass: Callable[[], Pass | None],
    conditions: Callable[[], Iterable[Condition]],
) -> Starlette:
    """`metrics` renders the exposition text; `conditions` are those in force. All are called from the server's thread."""

    def show_metrics(_: Request) -> Response:
        return Response(metrics(), media_type=METRICS_TYPE)

    def healthz(_: Request) -> Response:
        age_s = progress_age_s()
        if age_s > stuck_after_s:
            return PlainTextResponse(f"the loop has made no progress for {age_s:.0f} s\n", status_code=503)
        return PlainTextResponse("ok\n")

    def readyz(request: Request) -> Response:
        made = last_full_pass()
        found = (_NOT_YET,) if made is None else (*problems(made), *denials(conditions()))
        is_ready = not found
        if "application/json" in request.headers.get("accept", ""):
            document = {"ready": is_ready, "problems": [_document(problem) for problem in found]}
            return JSONResponse(document, status_code=200 if is_ready else 503)
        text = "ok" if is_ready else "\n".join(str(problem) for problem in found)
        return PlainTextResponse(f"{text}\n", status_code=200 if is_ready else 503)

    return Starlette(
        routes=[
            Route("/metrics", show_metrics),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ]
    )


def problems(made: Pass) -> tuple[Problem, ...]:
    """What kept a full pass as a whole from its work. One environment's trouble is its own and is not here."""
    return tuple(
        Problem(stage=failure.stage, message=failure.message, remedy=failure.remedy, environment=failure.environment)
        for failure in made.failures
        if failure.environment is None
    )


def denials(conditions: Iterable[Condition]) -> Iterator[Problem]:
    """Permissions that are missing. They show where something was to be written, and are the whole installation's trouble.

    Read from the conditions, which outlive a backoff, and not from the last pass, which may not have tried again.
    """
    told = set()
    for one in conditions:
        is_denial = one.type is ConditionType.STALLED and one.is_true and one.reason == ACCESS_DENIED
        if is_denial and (one.message, one.remedy) not in told:
            told.add((one.message, one.remedy))
            yield Problem(stage="converge", message=one.message, remedy=one.remedy, environment=one.environment)


def _document(problem: Problem) -> dict[str, str | None]:
    return {
        "stage": problem.stage,
        "message": problem.message,
        "remedy": problem.remedy,
        "environment": problem.environment,
    }
