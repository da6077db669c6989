"""Launching: the intent is durable before EC2 is asked, so that no crash and no lost reply makes a second fleet."""

from collections.abc import Callable
from dataclasses import replace

from reconciler.errors import Denied, NoCapacity, Refused, TokenMismatch, TokenSpent, Transient
from reconciler.model import tags
from reconciler.model.actions import Batch, LaunchNodes, ReplayLaunch
from reconciler.model.facts import IntentEnded, IntentLaunched, IntentOpened, OfferingExhausted
from reconciler.model.memory import Exhausted, Intent, IntentState, LaunchParameters
from reconciler.model.names import InstanceId, IntentToken
from reconciler.model.rules import EXHAUSTED_FOR
from reconciler.ports import Clock, Cloud, Journal


class Launcher:
    """Turns launches into instances, through intents."""

    def __init__(
        self,
        *,
        clock: Clock,
        cloud: Cloud,
        journal: Journal,
        new_token: Callable[[], IntentToken],
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clock = clock
        self._cloud = cloud
        self._journal = journal
        self._new_token = new_token
        self._is_stopping = is_stopping

    def launch(self, action: LaunchNodes, user_data: str) -> tuple[InstanceId, ...]:
        """One intent and one RunInstances call for each batch, in order; ends at the first that fails, or when all stops.

        Raises:
            Transient, Refused: see ports.Cloud.run_instances; what was launched before stays launched and recorded.
        """
        launched: list[InstanceId] = []
        for batch in action.batches:
            if launched and self._is_stopping():
                break  # what lacks is seen by the next pass
            self._cloud.reserve_launch(batch.count)  # what has to wait leaves no intent behind
            token = self._new_token()
            intent = Intent(
                token=token,
                environment=action.environment,
                role=action.role,
                parameters=_parameters(action, batch, token, user_data),
                opened_at=self._clock.now(),
            )
            self._journal.record(intent.opened_at, IntentOpened(intent=intent))
            launched.extend(self._run(intent))
        return tuple(launched)

    def replay(self, action: ReplayLaunch) -> tuple[InstanceId, ...]:
        """The same call again: EC2 answers with the instances that the token already made, or makes them now."""
        self._cloud.reserve_launch(action.intent.parameters.count)
        now = self._clock.now()
        intent = replace(action.intent, attempted_at=now)
        self._journal.record(now, IntentOpened(intent=intent))
        return self._run(intent)

    def _run(self, intent: Intent) -> tuple[InstanceId, ...]:
        try:
            ids = tuple(self._cloud.run_instances(intent.token, intent.parameters))
        except NoCapacity as refusal:
            now = self._clock.now()
            offering = Exhausted(
                instance_type=intent.parameters.instance_type,
                subnet=intent.parameters.subnet,
                until=now + EXHAUSTED_FOR,
            )
            ended = IntentEnded(token=intent.token, state=IntentState.REFUSED, message=refusal.message)
            self._journal.record(now, ended, OfferingExhausted(exhausted=offering))
            raise
        except TokenMismatch as mismatch:
            # EC2 knows the token with other parameters: its instances carry the intent tag and will be listed. Until
            # then the intent keeps its places; calling again would only tell the same.
            self._end(intent, IntentState.OPEN, mismatch)
            raise Transient(mismatch.message, remedy=mismatch.remedy) from mismatch
        except TokenSpent as spent:
            self._end(intent, IntentState.CLOSED, spent)
            raise
        except Denied as denial:
            # Permissions are looked at before the token: a replay that is denied says nothing of the call before it.
            if intent.attempted_at is None:
                self._end(intent, IntentState.REFUSED, denial)
            raise
        except Refused as refusal:
            self._end(intent, IntentState.REFUSED, refusal)
            raise
        self._journal.record(self._clock.now(), IntentLaunched(token=intent.token, instance_ids=ids))
        return ids

    def _end(self, intent: Intent, state: IntentState, refusal: Refused) -> None:
        self._journal.record(self._clock.now(), IntentEnded(token=intent.token, state=state, message=refusal.message))


def _parameters(action: LaunchNodes, batch: Batch, token: IntentToken, user_data: str) -> LaunchParameters:
    role = action.declared
    volume = role.root_volume
    return LaunchParameters(
        image=action.image,
        instance_type=batch.instance_type,
        subnet=batch.subnet,
        count=batch.count,
        security_groups=tuple(sorted(role.security_groups)),
        instance_profile=role.instance_profile,
        key_name=role.key_name,
        root_volume_size_gib=volume.size_gib if volume else None,
        root_volume_type=volume.type if volume else None,
        user_data=user_data,
        tags=tuple(sorted({**action.tags, tags.INTENT: token}.items())),
    )
