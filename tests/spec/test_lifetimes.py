"""`ttl`, `expires` and `schedule` as files say them."""

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model.desired import Lifetime, Schedule
from reconciler.model.names import EnvironmentName
from tests.spec.revision import CHECKOUT, PRODUCTION, read, told

OFFICE = '{stop: "0 20 * * 1-5", start: "0 7 * * 1-5", timezone: Europe/Berlin}'


def lifetime(lines: str, parent: str = PRODUCTION) -> Lifetime:
    desired = read({"production.yml": parent, "checkout.yml": CHECKOUT + lines})
    assert desired.findings == ()
    return desired.environments[EnvironmentName("checkout")].lifetime


def test_without_a_word_an_environment_lives_awake_until_its_file_is_deleted() -> None:
    assert lifetime("") == Lifetime()


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [
        ("14d", timedelta(days=14)),
        ("12h", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        ("30s", timedelta(seconds=30)),
        ("99999d", timedelta(days=99999)),
    ],
)
def test_a_time_to_live(ttl: str, expected: timedelta) -> None:
    assert lifetime(f"ttl: {ttl}\n") == Lifetime(ttl=expected)


@pytest.mark.parametrize(
    ("expires", "at"),
    [
        ("2026-12-24", datetime(2026, 12, 25, tzinfo=UTC)),  # lives through that day
        ("2026-12-31", datetime(2027, 1, 1, tzinfo=UTC)),
        ("2026-12-24T18:00Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24 18:00:30+01:00", datetime(2026, 12, 24, 17, 0, 30, tzinfo=UTC)),
        ("'2026-12-24T00:30+01:00'", datetime(2026, 12, 23, 23, 30, tzinfo=UTC)),
    ],
)
def test_an_end(expires: str, at: datetime) -> None:
    assert lifetime(f"expires: {expires}\n") == Lifetime(expires_at=at)


def test_a_schedule_is_inherited_part_by_part_and_can_be_removed() -> None:
    office = Schedule(stop="0 20 * * 1-5", start="0 7 * * 1-5", timezone="Europe/Berlin")
    parent = f"{PRODUCTION}schedule: {OFFICE}\n"
    assert lifetime("", parent).schedule == office
    later = lifetime('schedule: {stop: "0 22 * * *"}\n', parent).schedule
    assert later == Schedule(stop="0 22 * * *", start=office.start, timezone=office.timezone)
    assert lifetime("schedule: null\n", parent).schedule is None


def test_what_is_protected_sleeps_by_its_own_schedule_only() -> None:
    parent = f"{PRODUCTION}schedule: {OFFICE}\n"
    assert lifetime("protected: true\n", parent).schedule is None
    assert lifetime("protected: false\n", parent).schedule is not None
    assert lifetime(f"protected: true\nschedule: {OFFICE}\n", parent).schedule is not None


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("ttl: 14", "7: ttl must be a duration longer than nothing, such as 12h or 14d, not the number 14"),
        ("ttl: 0d", '7: ttl must be a duration longer than nothing, such as 12h or 14d, not "0d"'),
        ("ttl: 2w", '7: ttl must be a duration longer than nothing, such as 12h or 14d, not "2w"'),
        (
            "expires: tomorrow",
            (
                "7: expires must be a date such as 2026-12-24, or a time with its zone such as 2026-12-24T18:00Z, "
                'not "tomorrow"'
            ),
        ),
        (
            "expires: 2026-02-30",
            '7: expires "2026-02-30" is not a date (write one such as 2026-12-24, or a time such as 2026-12-24T18:00Z)',
        ),
        (
            "expires: 2026-12-24T18:00",
            '7: expires "2026-12-24T18:00" has no time zone (add one: "2026-12-24T18:00Z", or "2026-12-24T18:00+01:00")',
        ),
        (
            'schedule:\n  stop: "0 25 * * *"\n  start: "0 7 * * *"\n  timezone: UTC',
            (
                '8: schedule.stop "0 25 * * *" is not a cron line: bad hour '
                '(write minute, hour, day of month, month and day of week, such as "0 20 * * 1-5")'
            ),
        ),
        (
            'schedule:\n  stop: "0 20 * * *"\n  start: "@daily"\n  timezone: UTC',
            (
                '9: schedule.start "@daily" is not a cron line: 1 fields instead of five '
                '(write minute, hour, day of month, month and day of week, such as "0 20 * * 1-5")'
            ),
        ),
        (
            'schedule:\n  stop: "0 20 * * *"\n  start: "0 7 * * *"\n  timezone: Europe/Berln',
            '10: schedule.timezone "Europe/Berln" is not a time zone (did you mean "Europe/Berlin"?)',
        ),
        (
            'schedule:\n  stop: "0 20 * * *"\n  start: "0 7 * * *"\n  timezone: ../UTC',
            '10: schedule.timezone "../UTC" is not a time zone (write one such as Europe/Berlin or UTC)',
        ),
        (
            'schedule:\n  stop: "0 20 * * *"\n  start: "0 7 * * *"\n  timezone: Europe',
            '10: schedule.timezone "Europe" is not a time zone (write one such as Europe/Berlin or UTC)',
        ),
        (
            'schedule: {stop: "0 20 * * *", timezone: UTC}',
            "7: schedule has no start (add it, or remove the schedule)",
        ),
        (
            'schedule: {stop: "0 7 * * *", start: "0 7 * * *", timezone: UTC}',
            "7: schedule.stop and schedule.start are the same (let the nodes start at another time than they stop)",
        ),
        (
            'schedule: {stop: "0 20 * * *", start: "0 7 * * *", timezone: UTC, zone: x}',
            '7: unknown key "zone" (did you mean "timezone"?)',
        ),
    ],
)
def test_what_is_wrong_is_one_line(lines: str, line: str) -> None:
    desired = read({"production.yml": PRODUCTION, "checkout.yml": f"{CHECKOUT}{lines}\n"})
    assert [one.removeprefix("environments.d/checkout.yml:") for one in told(desired)] == [line]
    assert set(desired.frozen) == {"checkout"}
