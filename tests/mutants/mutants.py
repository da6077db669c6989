"""Bugs of the kinds that reconcilers are known for, each as one change to one line of the program.

Sieve (OSDI '22) names the kinds: a crash between two writes, acting on a stale view, a transition that nobody saw. The
others are what GitOps tools have deleted fleets by: an empty tree, a failed read, a name that was used again.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    name: str
    bug: str  # what the program would do wrong
    file: str  # below reconciler/
    good: str  # exactly once in the file
    bad: str
    caught_by: tuple[str, ...]  # what pytest is to run: tests that must turn red


MUTANTS: Final = (
    # --- a crash between two writes ---
    Mutant(
        name="no-intent",
        bug="launches without a durable intent: a crash after the call forgets that it was made",
        file="converge/launch.py",
        good="            self._journal.record(intent.opened_at, IntentOpened(intent=intent))\n",
        bad="",
        caught_by=("tests/converge/test_launch.py", "-k", "durable_before"),
    ),
    Mutant(
        name="token-per-attempt",
        bug="repeats a launch of unknown outcome under a new client token, and gets a second fleet",
        file="converge/launch.py",
        good="intent = replace(action.intent, attempted_at=now)",
        bad="intent = replace(action.intent, attempted_at=now, token=self._new_token())",
        caught_by=("tests/reconcile/test_trouble.py", "-k", "replayed_even_while"),
    ),
    Mutant(
        name="unknown-is-failed",
        bug="takes a lost reply for a refusal, closes the intent and launches again",
        file="converge/launch.py",
        good="""        except Refused as refusal:
            self._end(intent, IntentState.REFUSED, refusal)
            raise
""",
        bad="""        except (Refused, Transient) as refusal:
            self._end(intent, IntentState.REFUSED, refusal)  # type: ignore[arg-type]
            raise
""",
        caught_by=("tests/reconcile/test_trouble.py", "-k", "lost_reply"),
    ),
    Mutant(
        name="termination-recorded-after-the-call",
        bug="a crash right after TerminateInstances makes the prune limit forget it",
        file="converge/environment.py",
        good="""        self.journal.record(self.clock.now(), *asked)  # first: a crash must not make the prune limit forget it
        self.cloud.terminate([one.instance_id for one in actions])
""",
        bad="""        self.cloud.terminate([one.instance_id for one in actions])
        self.journal.record(self.clock.now(), *asked)
""",
        caught_by=("tests/converge/test_environment.py", "-k", "recorded"),
    ),
    Mutant(
        name="claim-overwritten-blindly",
        bug="writes the claim without looking again, and so undoes a take-over by another installation",
        file="reconcile.py",
        good="            if self._ports.chef.claim() != standing:\n",
        bad="            if False:\n",
        caught_by=("tests/reconcile/test_attacks.py", "-k", "take_over_during_a_pass"),
    ),
    Mutant(
        name="acts-before-it-accepts",
        bug="carries the plan out before the revision is durable: after a crash nobody knows what was torn down for",
        file="reconcile.py",
        good="""                self._accept(look, look.decision)
                outcomes = self._converge(look, look.decision)
""",
        bad="""                outcomes = self._converge(look, look.decision)
                self._accept(look, look.decision)
""",
        caught_by=("tests/simulation", "-k", "crash"),
    ),
    # --- a stale or partial view ---
    Mutant(
        name="absence-from-a-failed-page",
        bug="takes a listing whose page failed for a complete one",
        file="adapters/ec2.py",
        good="""            for page in self._requests.pages("DescribeInstances", pages):
                found.update((instance.instance_id, instance) for instance in read_instances(page))
        return tuple(
""",
        bad="""            try:
                for page in self._requests.pages("DescribeInstances", pages):
                    found.update((instance.instance_id, instance) for instance in read_instances(page))
            except Exception:
                pass
        return tuple(
""",
        caught_by=("tests/adapters/test_ec2.py",),
    ),
    Mutant(
        name="unlisted-is-gone",
        bug="calls a node gone that one listing lacked",
        file="observe/join.py",
        good="    elif record.missing_since is not None and reading.at - record.missing_since >= NOT_FOUND_PROOF:\n",
        bad="    elif True:\n",
        caught_by=("tests/observe/test_join_gone.py",),
    ),
    Mutant(
        name="not-found-proves-death",
        bug="believes the first NotFound",
        file="model/rules.py",
        good="NOT_FOUND_PROOF: Final = timedelta(hours=1)",
        bad="NOT_FOUND_PROOF: Final = timedelta(0)",
        caught_by=("tests/observe/test_join_gone.py", "tests/reconcile/test_trouble.py", "-k", "hour"),
    ),
    Mutant(
        name="unseen-is-missing",
        bug="launches again what EC2 does not list yet",
        file="plan/intents.py",
        good="    return max(0, intent.parameters.count - seen)\n",
        bad="    return 0 if seen >= 0 else seen\n",
        caught_by=("tests/plan/test_intents.py",),
    ),
    Mutant(
        name="search-proves-absence",
        bug="forgets what is left of a dead node in Chef because a lagging search does not show it",
        file="observe/chef_reading.py",
        good="    for found_clients in _by_name(chef.clients, dead, reading):\n        reading.clients.update(found_clients)\n",
        bad="",
        caught_by=("tests/observe/test_reading.py", "-k", "lags"),
    ),
    Mutant(
        name="untagged-is-ours",
        bug="goes on treating an instance as ours after somebody took our tag away",
        file="observe/nodes.py",
        good="    return instance.tags.get(tags.FLEET) == evidence.rules.fleet\n",
        bad="    return True or bool(evidence and instance)\n",
        caught_by=("tests/reconcile/test_trouble.py", "-k", "lost_its_tag"),
    ),
    Mutant(
        name="account-not-asked-again",
        bug="concludes from another account's listing that ours is empty",
        file="observer.py",
        good="        if reading.asked and self._ports.cloud.account(afresh=True) != claims.own.account:\n",
        bad="        if reading.asked and self._ports.cloud.account() != claims.own.account:\n",
        caught_by=("tests/reconcile/test_attacks.py", "-k", "credentials_that_turn"),
    ),
    # --- the wrong things deleted ---
    Mutant(
        name="chef-before-ec2",
        bug="deletes the Chef objects of a node whose instance is only shutting down",
        file="observe/join.py",
        good="    if instance.state == InstanceState.TERMINATED:\n        if record.gone_at is None:\n",
        bad="    if instance.is_dead:\n        if record.gone_at is None:\n",
        caught_by=("tests/reconcile/test_main_job.py", "-k", "chef_objects_of_a_node_stay"),
    ),
    Mutant(
        name="reused-name",
        bug="names nodes by number, so that a new one takes the name of a dead one",
        file="model/names.py",
        good="""{role}-{instance_id.removeprefix('i-')}")\n""",
        bad="""{role}-{len(instance_id)}")\n""",
        caught_by=("tests/model/test_names.py",),
    ),
    Mutant(
        name="rewritten-history-accepted",
        bug="follows the branch wherever it was pushed",
        file="source/follow.py",
        good="    broken = tuple(witness for witness in witnesses if not descends(tip, witness))\n",
        bad="    broken = tuple(witness for witness in witnesses if False and not descends(tip, witness))\n",
        caught_by=("tests/source/test_follow.py",),
    ),
    Mutant(
        name="frozen-is-deleted",
        bug="tears down an environment whose file cannot be read",
        file="plan/__init__.py",
        good="    if name in desired.frozen:\n",
        bad="    if name in desired.frozen and not desired.names:\n",
        caught_by=("tests/reconcile/test_main_job.py", "-k", "broken_file"),
    ),
    Mutant(
        name="other-fleets-marks",
        bug="takes another fleet's generated Chef roles for its own",
        file="plan/chef.py",
        good="    return owner is not None and owner.fleet == fleet and owner.environment == environment\n",
        bad="    return owner is not None and bool(fleet) and owner.environment == environment\n",
        caught_by=("tests/plan/test_chef_objects.py",),
    ),
    Mutant(
        name="claim-of-anybody",
        bug="works on a fleet that another installation has claimed",
        file="ports.py",
        good='        fields = ("installation", "account", "region", "repository", "branch", "path")\n',
        bad='        fields = ("account", "region", "repository", "branch", "path")\n',
        caught_by=("tests/reconcile/test_holds.py", "-k", "second_installation"),
    ),
    Mutant(
        name="second-key-accepted",
        bug="lets whoever comes second register as a node that has its key already",
        file="adapters/journal/sqlite.py",
        good="                .where(nodes.c.instance_id == instance_id, nodes.c.public_key.is_(None))\n",
        bad="                .where(nodes.c.instance_id == instance_id)\n",
        caught_by=("tests/adapters/test_journal_file.py", "-k", "two_keys"),
    ),
    # --- limits and holds ---
    Mutant(
        name="limit-without-memory",
        bug="forgets what went in the last hour: one node after the other goes, and the limit never holds",
        file="plan/limits.py",
        good="    if len(lately) + len(new) <= limit:\n",
        bad="    if len(new) <= limit:\n",
        caught_by=("tests/plan/test_prune_limits.py",),
    ),
    Mutant(
        name="approval-of-anything",
        bug="lets a yes to one removal free all that are held with it",
        file="plan/holds.py",
        good="    return any(wanted <= one.removals for",
        bad="    return any(wanted & one.removals for",
        caught_by=("tests/plan/test_approvals.py",),
    ),
    Mutant(
        name="protection-only-on-resources",
        bug="forgets protection that never reached the resources",
        file="plan/protection.py",
        good="        (known is not None and known.is_protected)\n        or any(",
        bad="        (known is not None and False)\n        or any(",
        caught_by=("tests/reconcile/test_attacks.py", "-k", "protection_holds_though"),
    ),
    Mutant(
        name="no-grace",
        bug="tears down at once what a revert could still save",
        file="plan/ending.py",
        good="    return ending.at + rules.teardown_grace\n",
        bad="    return ending.at + 0 * rules.teardown_grace\n",
        caught_by=("tests/plan/test_grace.py",),
    ),
    Mutant(
        name="sweep-without-age",
        bug="deletes generated Chef objects at first sight, while the daemon that makes them may be at work",
        file="plan/orphans.py",
        good="    if is_old and context.observed.is_full:\n",
        bad="    if context.observed.is_full:\n",
        caught_by=("tests/plan/test_orphans.py",),
    ),
    Mutant(
        name="partial-record-is-drift",
        bug="replaces healthy young nodes of which EC2 does not tell all yet",
        file="plan/drift.py",
        good="if name not in unknown and live[name] != value}",
        bad="if live[name] != value}",
        caught_by=("tests/reconcile/test_found_by_simulation.py", "-k", "young_record"),
    ),
    Mutant(
        name="edge-triggered-delete",
        bug="tears down only in the pass that sees the file go: a crash in between leaves everything running",
        file="plan/__init__.py",
        good="    if not context.observed.is_full and not context.has_begun(name):\n        return None\n",
        bad="    if name in context.memory.environments and not context.touched and not context.has_begun(name):\n        return None\n",
        caught_by=("tests/plan/test_grace.py",),
    ),
    Mutant(
        name="breaker-never-pauses",
        bug="launches one newcomer after the other into a role that fails every time",
        file="plan/trouble.py",
        good="    return trouble.retry_at is not None and now < trouble.retry_at <= now + BACKOFF_MAX\n",
        bad="    return trouble.retry_at is not None and now > now + BACKOFF_MAX\n",
        caught_by=("tests/plan/test_trouble.py",),
    ),
    Mutant(
        name="quarantine-of-all",
        bug="keeps every failed node to be looked at, so that a role that fails fills the account",
        file="plan/leaving.py",
        good="key=lambda node: node.failed_at or context.now)[-1:]",
        bad="key=lambda node: node.failed_at or context.now)[0:]",
        caught_by=("tests/plan/test_trouble.py",),
    ),
    Mutant(
        name="protected-expires",
        bug="lets a time to live end what is protected",
        file="plan/lifetime.py",
        good="    return environment.protected or (\n",
        bad="    return (environment.protected and context.now is None) or (\n",
        caught_by=("tests/plan/test_lifetimes.py", "-k", "protected"),
    ),
    Mutant(
        name="policy-stops-healing",
        bug="leaves a role short of nodes that it has held, because its file asks for too much by now",
        file="plan/growth.py",
        good="            if present[action.role] > context.memory.settled.get((plan.name, action.role), 0):\n",
        bad="            if present[action.role] > 0:\n",
        caught_by=("tests/plan/test_policy.py",),
    ),
    Mutant(
        name="healing-launches-anything",
        bug="brings back a lost node in the type that its file names by now, which the policy forbids",
        file="plan/growth.py",
        good="            against += _against_shape(action, own, context)\n",
        bad="            against += ()\n",
        caught_by=("tests/plan/test_policy.py", "-k", "healing"),
    ),
    Mutant(
        name="totals-stop-everybody",
        bug="holds every environment's replacements, because all of them together ask for too much",
        file="plan/growth.py",
        good="    own = [one for one in declared.violations if not one.is_total]\n",
        bad="    own = list(declared.violations)\n",
        caught_by=("tests/plan/test_policy.py", "-k", "together"),
    ),
    # --- places, ages and halves ---
    Mutant(
        name="held-place-is-free",
        bug="fills the place of a stopped node whose end is held, and brings a second fleet up beside the first",
        file="plan/roles.py",
        good="    places = live + len(going) + sum(",
        bad="    places = live + sum(",
        caught_by=("tests/reconcile/test_sleep_and_stop.py", "-k", "no_second_fleet"),
    ),
    Mutant(
        name="refused-place-is-free",
        bug="fills the place of a failed node that EC2 refuses to end, and so runs more with every one that fails",
        file="converge/environment.py",
        good='            return {role: f"{node} could not be ended, and keeps its place"}\n',
        bad="            return {}\n",
        caught_by=("tests/reconcile/test_promises.py", "-k", "does_not_end_keeps_its_place"),
    ),
    Mutant(
        name="excess-is-the-extra-one",
        bug="takes a node that a commit lowered for the extra one of a replacement: it goes as replaced, past every hold",
        file="plan/leaving.py",
        good="    excess = max(too_many - surge, min(too_many, by_commit))\n",
        bad="    excess = too_many - surge\n",
        caught_by=("tests/plan/test_roles.py", "-k", "though_it_drifts_too"),
    ),
    Mutant(
        name="age-while-suspended",
        bug="lets what is stopped grow old while nobody may start it, and terminates it when the suspension ends",
        file="observe/nodes.py",
        good="    if _is_left_alone(evidence, node.environment):\n",
        bad="    if False:\n",
        caught_by=("tests/reconcile/test_sleep_and_stop.py", "-k", "during_a_suspension"),
    ),
    Mutant(
        name="search-proves-failure",
        bug="calls a node failed because a search lacks it: an index that stands still ends all newcomers",
        file="observe/nodes.py",
        good=" and at >= node.deadline_at and _is_known_not_ready(evidence, record):",
        bad=" and at >= node.deadline_at:",
        caught_by=("tests/reconcile/test_attacks.py", "-k", "stands_still"),
    ),
    Mutant(
        name="pin-of-anybody",
        bug="takes an image that somebody wrote into the Chef role for the one that a commit asked for, and rolls the fleet",
        file="plan/environment.py",
        good="        return shown if shown is not None and shown == serving else kept\n",
        bad="        return shown or kept\n",
        caught_by=("tests/reconcile/test_attacks.py", "-k", "no_commit_moved"),
    ),
)
