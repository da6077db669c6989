"""Moving images (`ssm:…`, `{owner, name}`) that nobody looked up: each stands for itself, so that none is guessed.

Whoever runs by the plan never sees one: the daemon looks it up when it is merged, and pins what it finds.
"""

from collections.abc import Mapping

from reconciler.model.desired import Image
from reconciler.model.names import ImageId
from reconciler.plan.drift import Drift
from reconciler.review.snapshot import Snapshot


def stand_in(image: Image) -> ImageId:
    """For what it will name; of a fixed one, the image itself."""
    return ImageId(str(image))


def is_stand_in(image: str) -> bool:
    return "/" in image  # which is in each name of a moving image, and in no id of one


def is_uncertain(drift: Drift) -> bool:
    """Whether the node may after all run what is declared."""
    return drift.field == "image" and (is_stand_in(drift.old) or is_stand_in(drift.new))


def told(drift: Drift) -> str:
    """`image: ami-1 → ssm:/aws/x, if that is another image`."""
    return f"{drift}, if that is another image" if is_uncertain(drift) else str(drift)


def looked_up(snapshot: Snapshot) -> Mapping[str, ImageId | tuple[str, str]]:
    """What each name stood for when the world was looked at, whichever role it was looked up for; or why for nothing."""
    images, troubles = snapshot.observed.images, snapshot.observed.unresolved
    failed = {source: troubles[key] for key, source in snapshot.sources.items() if key in troubles}
    return {**failed, **{source: images[key] for key, source in snapshot.sources.items() if key in images}}
