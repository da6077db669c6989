"""A review as JSON: `schemas/review.schema.json`. Money is text, so that no cent is lost."""

from reconciler.model.cost import Cost
from reconciler.model.desired import Json
from reconciler.model.findings import Origin
from reconciler.report.documents import moment
from reconciler.review import wording
from reconciler.review.fields import FieldChange
from reconciler.review.review import EnvironmentReview, Hold, Review
from reconciler.review.steps import Step

Document = dict[str, Json]


def review_document(review: Review) -> Document:
    return {
        "base": review.base,
        "head": review.head,
        "world": {"at": None if review.is_assumed else moment(review.at), "is_assumed": review.is_assumed},
        "verdict": review.verdict.name.lower(),
        "exit_code": int(review.verdict),
        "environments": [_environment(one, review) for one in review.environments],
        "findings": [
            {
                "file": one.origin.file,
                "line": one.origin.line,
                "message": one.message,
                "remedy": one.remedy,
                "is_new": is_new,
            }
            for one, is_new in review.findings
        ],
        "stops": [{"guard": one.guard.value, "message": one.message, "remedy": one.remedy} for one in review.stops],
        "unresolved_images": list(review.unresolved),
        "cost": _costs(review.before, review.after),
    }


def _environment(one: EnvironmentReview, review: Review) -> Document:
    return {
        "name": one.name,
        "change": one.kind.value,
        "file": one.file,
        "risk": str(one.risk),
        "is_certain": one.is_certain,
        "expires_at": moment(one.expiry.after),
        "expires_at_before": moment(one.expiry.before),
        "is_over": one.expiry.is_over,
        "fields": [_field(field) for field in one.fields],
        "actions": [_step(step, is_assumed=review.is_assumed) for step in one.steps],
        "holds": [_hold(hold, is_assumed=review.is_assumed) for hold in one.holds],
        "stalls": [{"reason": stall.reason, "message": stall.message, "remedy": stall.remedy} for stall in one.stalls],
        "cost": _costs(one.before, one.after),
    }


def _field(change: FieldChange) -> Document:
    """`old` and `new` are null where the value is not there: no declared value is null."""
    return {
        "key": change.key,
        "old": change.old.value if change.old else None,
        "new": change.new.value if change.new else None,
        **_origin(change.origin),
        "risk": str(change.risk),
        "is_certain": change.is_certain,
    }


def _step(step: Step, *, is_assumed: bool) -> Document:
    return {
        "action": step.action.value,
        "role": step.role,
        "count": step.count,
        "targets": [] if is_assumed else list(step.targets),  # nobody knows the names of what was not looked at
        "reason": f"{step.reason.rule}: {step.reason.detail}",
        **_origin(step.reason.origin),
        "risk": str(step.risk),
        "is_certain": step.is_certain,
    }


def _hold(hold: Hold, *, is_assumed: bool) -> Document:
    return {
        "guard": hold.guard.value,
        "is_information": not hold.holds,
        "message": hold.message,
        "remedy": wording.way_out(hold, is_assumed=is_assumed),
        "until": moment(hold.until),
        "actions": [_step(step, is_assumed=is_assumed) for step in hold.steps],
    }


def _origin(origin: Origin | None) -> Document:
    return {"file": origin.file if origin else None, "line": origin.line if origin else None}


def _costs(before: Cost, after: Cost) -> Document:
    by = wording.difference(before, after)
    return {
        "before": _cost(before),
        "after": _cost(after),
        "difference": None if by is None else f"{by:.2f}",
    }


def _cost(cost: Cost) -> Document:
    return {"usd_per_month": f"{cost.known:.2f}", "unknown": list(cost.unknown)}
