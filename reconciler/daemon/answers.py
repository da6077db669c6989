"""A pass as a document: what `hivequeen plan` and `hivequeen reconcile` show."""

from reconciler.daemon.verdict import verdict
from reconciler.model.desired import Json
from reconciler.model.passes import Failure, Outcome, Pass
from reconciler.report import documents, views


def passed(made: Pass) -> dict[str, Json]:
    """`plan` is the document of `schemas/plan.schema.json`, null where nothing could be planned."""
    return {
        "verdict": int(verdict(made)),
        "plan": None if made.plan is None else views.plan_document(made.plan),
        "outcomes": [_outcome(outcome) for outcome in made.outcomes],
        "failures": [_failure(failure) for failure in made.failures],
        "findings": documents.finding_documents(views.loose_findings(made)),
        "requeue_after_s": made.requeue_after_s,
    }


def _outcome(outcome: Outcome) -> dict[str, Json]:
    return {
        "action": outcome.action.name.value,
        "environment": outcome.action.environment,
        "role": getattr(outcome.action, "role", ""),
        "node": getattr(outcome.action, "node", ""),
        "result": outcome.result.value,
        "message": outcome.message,
        "remedy": outcome.remedy,
    }


def _failure(failure: Failure) -> dict[str, Json]:
    return {
        "stage": failure.stage,
        "environment": failure.environment,
        "message": failure.message,
        "remedy": failure.remedy,
    }
