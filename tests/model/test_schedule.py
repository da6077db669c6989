"""When nodes sleep: the newer of the last stop and the last start wins, whatever clocks do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconciler.model.desired import Schedule
from reconciler.model.schedule import cron_trouble, is_asleep, next_change

BERLIN = "Europe/Berlin"
OFFICE = Schedule(stop="0 20 * * 1-5", start="0 7 * * 1-5", timezone=BERLIN)


def at(text: str, timezone: str = BERLIN, *, fold: int = 0) -> datetime:
    """The moment at which clocks there show this."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "asleep", "change"),
    [
        ("2026-11-03 06:59:59", True, "2026-11-03 07:00"),  # a Tuesday
        ("2026-11-03 07:00", False, "2026-11-03 20:00"),
        ("2026-11-03 19:59:59.999999", False, "2026-11-03 20:00"),
        ("2026-11-03 20:00", True, "2026-11-04 07:00"),
        ("2026-11-03 20:00:00.5", True, "2026-11-04 07:00"),
        ("2026-11-06 20:00", True, "2026-11-09 07:00"),  # a weekend is slept through
        ("2026-11-08 12:00", True, "2026-11-09 07:00"),
    ],
)
def test_office_hours(now: str, change: str, *, asleep: bool) -> None:
    assert is_asleep(OFFICE, at(now)) is asleep
    assert next_change(OFFICE, at(now)) == at(change)


def test_hours_are_those_of_the_time_zone() -> None:
    now = datetime(2026, 7, 1, 5, 30, tzinfo=UTC)
    assert not is_asleep(OFFICE, now), "07:30 in Berlin"
    assert is_asleep(Schedule(stop=OFFICE.stop, start=OFFICE.start, timezone="UTC"), now)
    assert is_asleep(Schedule(stop=OFFICE.stop, start=OFFICE.start, timezone="America/New_York"), now)


def test_office_hours_follow_the_clock_over_both_changes() -> None:
    spring = Schedule(stop="0 20 * * *", start="0 7 * * *", timezone=BERLIN)
    assert next_change(spring, at("2026-03-28 20:30")) - at("2026-03-28 20:00") == timedelta(hours=10)
    assert next_change(spring, at("2026-10-24 20:30")) - at("2026-10-24 20:00") == timedelta(hours=12)


NIGHT = Schedule(stop="30 2 * * *", start="0 6 * * *", timezone=BERLIN)


def test_a_stop_that_the_clock_jumps_over_comes_right_after_the_jump() -> None:
    jump = at("2026-03-29 03:00")
    assert next_change(NIGHT, jump - timedelta(seconds=1)) == jump
    assert not is_asleep(NIGHT, jump - timedelta(seconds=1))
    for later in (timedelta(0), timedelta(seconds=1), timedelta(minutes=10), timedelta(hours=2)):
        assert is_asleep(NIGHT, jump + later)
        assert next_change(NIGHT, jump + later) == at("2026-03-29 06:00")


def test_a_stop_that_the_clock_shows_twice_comes_once() -> None:
    first, second = at("2026-10-25 02:30"), at("2026-10-25 02:30", fold=1)
    assert second - first == timedelta(hours=1)
    assert next_change(NIGHT, first - timedelta(minutes=20)) == first
    assert not is_asleep(NIGHT, first - timedelta(minutes=1))
    for moment in (first, first + timedelta(minutes=40), second, second + timedelta(minutes=1)):
        assert is_asleep(NIGHT, moment)
        assert next_change(NIGHT, moment) == at("2026-10-25 06:00")


def test_a_start_inside_the_hour_that_comes_twice_wakes_once() -> None:
    schedule = Schedule(stop="0 1 * * *", start="30 2 * * *", timezone=BERLIN)
    between = at("2026-10-25 02:10", fold=1)
    assert not is_asleep(schedule, between)
    assert next_change(schedule, between) == at("2026-10-26 01:00")


def test_where_stop_and_start_meet_the_nodes_are_awake() -> None:
    schedule = Schedule(stop="0 * * * *", start="0 8 * * *", timezone="UTC")
    assert not is_asleep(schedule, at("2026-11-03 08:00", "UTC"))
    assert next_change(schedule, at("2026-11-03 07:30", "UTC")) == at("2026-11-03 08:00", "UTC")
    assert next_change(schedule, at("2026-11-03 08:00", "UTC")) == at("2026-11-03 09:00", "UTC")


def test_stops_that_starts_always_meet_change_nothing() -> None:
    schedule = Schedule(stop="0 8 * * *", start="0 * * * *", timezone="UTC")
    now = at("2026-11-03 08:00", "UTC")
    assert not is_asleep(schedule, now)
    assert next_change(schedule, now) > now + timedelta(days=30)


def test_lines_that_come_due_once_in_decades_are_followed() -> None:
    leap_mondays = "0 0 * 2 MON#5"
    schedule = Schedule(stop=leap_mondays, start="0 6 * * *", timezone="UTC")
    assert next_change(schedule, at("2026-11-03 12:00", "UTC")) == at("2044-02-29 00:00", "UTC")
    assert is_asleep(schedule, at("2044-02-29 05:59", "UTC"))


@pytest.mark.parametrize(
    "line", ["0 20 * * 1-5", "*/5 * * * *", "0 0 L * *", "0 9 * * MON#1", "0 20 * JAN-MAR mon,tue"]
)
def test_lines_that_come_due(line: str) -> None:
    assert cron_trouble(line) == ""


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        ("", "0 fields instead of five"),
        ("0 20 * *", "4 fields instead of five"),
        ("0 0 20 * * 1-5", "6 fields instead of five"),
        ("@daily", "1 fields instead of five"),
        ("60 20 * * *", "bad minute"),
        ("0 25 * * *", "bad hour"),
        ("0 20 * * 8", "bad day-of-week"),
        ("0 20 * * x", "bad day-of-week"),
        ("0 0 30 2 *", "bad day-of-month"),
        ("0 0 * 2 1#5L", "bad day-of-week"),
    ],
)
def test_lines_that_are_none(line: str, trouble: str) -> None:
    assert cron_trouble(line) == trouble


MINUTES = st.integers(0, 59)
HOURS = st.integers(0, 23)
LINES = st.builds("{} {} * * {}".format, MINUTES, HOURS, st.sampled_from(["*", "1-5", "0", "6"]))
SCHEDULES = st.builds(
    Schedule,
    stop=LINES,
    start=LINES,
    timezone=st.sampled_from([BERLIN, "UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
)
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis wants naive bounds


@given(SCHEDULES, MOMENTS)
def test_the_next_change_is_one_and_the_first(schedule: Schedule, now: datetime) -> None:
    change = next_change(schedule, now)
    assert change > now
    if schedule.stop != schedule.start:
        assert is_asleep(schedule, now) == is_asleep(schedule, change - timedelta(microseconds=1))
        between = now + (change - now) / 2
        assert is_asleep(schedule, between) == is_asleep(schedule, now)


@given(st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe"]), MINUTES, HOURS, MOMENTS)
def test_a_daily_nap_is_taken_every_day_whatever_clocks_do(
    timezone: str, minute: int, hour: int, now: datetime
) -> None:
    schedule = Schedule(stop=f"{minute} {hour} * * *", start=f"{minute} {(hour + 5) % 24} * * *", timezone=timezone)
    first = next_change(schedule, now)
    second = next_change(schedule, first)
    assert is_asleep(schedule, first) is not is_asleep(schedule, second)
    asleep = second - first if is_asleep(schedule, first) else next_change(schedule, second) - second
    assert timedelta(hours=4) <= asleep <= timedelta(hours=6)


# --- lines that nobody should write, and somebody will ---


@pytest.mark.parametrize("line", ["0 0 */31 2 1#5", "0 0 31 2 *"])
def test_a_line_that_never_comes_due_is_no_cron_line(line: str) -> None:
    assert cron_trouble(line)


def test_where_starts_meet_every_stop_nothing_ever_sleeps() -> None:
    always = Schedule(stop="* * * * *", start="*/1 * * * *", timezone="UTC")
    now = at("2026-11-03 07:30", "UTC")
    assert not is_asleep(always, now)
    assert next_change(always, now) > now


def test_where_starts_meet_every_rare_stop_the_calendar_does_not_end() -> None:
    rare = Schedule(stop="0 0 * 2 1#5", start="0 0  * 2 1#5", timezone="UTC")
    now = at("2026-11-03 07:30", "UTC")
    assert next_change(rare, now) > now


@settings(max_examples=30)
@given(
    stop=st.sampled_from(["*/7 * * * *", "0 20 * * 1-5", "5,10 8-20 * * *", "30 2 * * *"]),
    start=st.sampled_from(["0 7 * * 1-5", "15 8 * * *", "30 2 * * *"]),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York"]),
    minutes=st.integers(0, 400 * 24 * 60),
)
def test_it_is_the_same_until_the_next_change_and_then_otherwise(
    stop: str, start: str, timezone: str, minutes: int
) -> None:
    assume(stop != start)
    schedule = Schedule(stop=stop, start=start, timezone=timezone)
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes, seconds=30)
    before, change = is_asleep(schedule, now), next_change(schedule, now)
    assert is_asleep(schedule, change) is not before
    for part in range(1, 8):
        assert is_asleep(schedule, now + (change - now) * part / 8 - timedelta(seconds=1)) is before
