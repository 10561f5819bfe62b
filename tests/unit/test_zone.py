"""R38, R40: when a user sleeps, by the clock they set or by what their activity and language tell of it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from math import isclose
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engagement.domain import zone
from engagement.domain.pattern import EMPTY, Pattern
from engagement.domain.zone import (
    HABITS,
    OFFSETS,
    SAFE_HOURS,
    ZonePosterior,
    checked_zone,
    prior,
    quiet_hours_utc,
    quiet_probability,
    zone_posterior,
)
from engagement.errors import BadZoneError
from tests.bench.bench_zone import Look, fit, left_out, looks, means, open_hours
from tests.builders import pattern_of

STREAMS = Path(__file__).parents[3] / "shared" / "data" / "public"
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
NEW_YEAR = MONDAY.date()
HOUR = timedelta(hours=1)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Moscow",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Africa/Lagos",
    "Asia/Tehran",
    "Asia/Kabul",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Shanghai",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "America/St_Johns",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Santiago",
)

times = st.integers(0, 365 * 86_400).map(lambda seconds: MONDAY + timedelta(seconds=seconds))
patterns = st.lists(times, max_size=40).map(pattern_of)
languages = st.none() | st.sampled_from(["en", "ru", "pt-br", "en-US", "zh-hans", "xx", "", "-", "EN_gb"]) | st.text()
posteriors = st.builds(zone_posterior, patterns, languages)
quiets = st.tuples(st.integers(0, 23), st.integers(0, 23))


# --- the posterior ---


@given(patterns, languages)
@settings(max_examples=100, deadline=None)
def test_any_history_and_language_give_a_distribution(pattern: Pattern, language: str | None) -> None:
    found = zone_posterior(pattern, language)

    assert len(found.probabilities) == len(OFFSETS)
    assert all(p > 0 for p in found.probabilities)
    assert isclose(sum(found.probabilities), 1)
    assert found.best_minutes in OFFSETS
    assert 0 < found.confidence <= 1
    around = [p for p, o in zip(found.probabilities, OFFSETS, strict=True) if abs(o - found.best_minutes) <= 60]
    assert found.confidence == pytest.approx(sum(around))


def test_a_history_as_huge_as_it_gets_gives_a_distribution() -> None:
    """R34: finite, also where everything happened in one hour, and where the last year is unknown."""
    hours = [0] * 168
    hours[3] = 10**15
    weeks = tuple((week, 1 << 3) for week in range(52))

    for pattern in (
        replace(EMPTY, total=10**15, days=tuple(range(20_000)), hours_of_week=tuple(hours), weeks=weeks),
        replace(EMPTY, total=10**15, days=(1,), hours_of_week=tuple(hours)),
    ):
        assert isclose(sum(zone_posterior(pattern, None).probabilities), 1)


@pytest.mark.parametrize("habit", HABITS[:2], ids=["office days", "evenings"])
@pytest.mark.parametrize("minutes", [o for o, summer in zone.CLOCKS if o == summer and o % 60 == 0])
def test_a_life_like_others_is_placed_wherever_on_earth_it_is_lived(
    habit: tuple[float, tuple[int, ...]], minutes: int
) -> None:
    """Without a prior; what is left to find are whole days, so that -11 h is +13 h."""
    flat = tuple(float(standard == summer) for standard, summer in zone.CLOCKS)
    hours = tuple(float(habit[1][(hour + minutes // 60) % 24]) for hour in range(24))
    away = (zone.posterior(hours, flat).best_minutes - minutes) % 1440

    assert min(away, 1440 - away) <= 60


def test_a_burst_of_messages_tells_no_more_than_one() -> None:
    once = pattern_of([MONDAY])
    burst = pattern_of(MONDAY + timedelta(seconds=second) for second in range(200))

    assert zone_posterior(burst, "en").probabilities == pytest.approx(zone_posterior(once, "en").probabilities)


def test_no_history_tells_summer_from_winter_time() -> None:
    """A year lived in Berlin by the clock: both offsets stay possible, and confidence counts both in."""
    berlin = ZoneInfo("Europe/Berlin")
    year = pattern_of(
        datetime(2025, 1, 1, hour, 5, tzinfo=berlin) + timedelta(days=day) for day in range(365) for hour in (8, 12, 20)
    )
    found = zone_posterior(year, "de")
    at = dict(zip(OFFSETS, found.probabilities, strict=True))

    assert found.best_minutes in {60, 120}
    assert found.confidence > 0.8
    assert at[60] == pytest.approx(at[120], rel=0.2)


@pytest.mark.parametrize(
    ("language", "hours_from_utc"),
    [("de", (1, 2)), ("it", (1, 2)), ("pt-br", (-3,)), ("fa", (3.5,)), ("zh-hans", (8,)), ("tr", (3,))],
)
def test_a_language_of_one_country_is_half_of_the_answer(language: str, hours_from_utc: Sequence[float]) -> None:
    found = zone_posterior(EMPTY, language)

    assert found.best_minutes / 60 in hours_from_utc
    assert found.confidence > 0.8


@pytest.mark.parametrize("tag", ["pt-BR", "PT-br", "pt_br", "pt-Latn-BR"])
def test_a_tag_is_read_in_any_spelling(tag: str) -> None:
    assert prior(tag) == prior("pt-br") != prior("pt-pt")


@pytest.mark.parametrize("tag", [None, "", "-", "xx", "tlh-QS", "'; DROP TABLE", "e" * 10_000, "en" + "\0"])
def test_a_tag_that_says_nothing_means_anywhere(tag: str | None) -> None:
    assert prior(tag) == prior(None)


def test_every_place_is_on_earth_and_speaks_no_more_than_it_can() -> None:
    for place in zone._PLACES:
        assert -720 <= place.standard <= place.summer <= 840
        assert place.standard % zone.QUARTER == place.summer % zone.QUARTER == 0
        assert place.users > 0
        assert sum(place.languages.values()) <= 1 + 1e-9


@pytest.mark.parametrize("country", [("US", "America/New_York"), ("DE", "Europe/Berlin"), ("UA", "Europe/Kyiv")])
def test_the_places_have_the_offsets_of_the_zone_database(country: tuple[str, str]) -> None:
    code, name = country
    clock = ZoneInfo(name)
    minutes = {datetime(2026, month, 1, tzinfo=clock).utcoffset() // timedelta(minutes=1) for month in (1, 7)}

    assert minutes in [{place.standard, place.summer} for place in zone._PLACES if code in place.countries.split()]


# --- quiet hours ---


def quiet_clock(minute: int, quiet: tuple[int, int]) -> bool:
    """Said the plain way: the hours from the first up to the second."""
    start, end = quiet
    hours = list(range(start, end)) if start <= end else [*range(start, 24), *range(end)]
    return minute // 60 % 24 in hours


@pytest.mark.parametrize("name", ZONES)
def test_quiet_hours_are_the_local_clocks_on_every_day_of_the_year(name: str) -> None:
    """R38: 366 days of 2028 at every quarter of an hour, both nights of the clocks' change among them.

    Each is a moment, so that a local time that does not exist never comes up, and one that exists twice is quiet twice.
    """
    clock = ZoneInfo(name)
    new_year = datetime(2028, 1, 1, tzinfo=UTC)
    for day in range(366):
        midnight = new_year + timedelta(days=day)
        blocked = quiet_hours_utc(name, midnight.date())
        for quarter in range(96):
            at = midnight + quarter * timedelta(minutes=15)
            local = (at + clock.utcoffset(at.astimezone(clock))).time()
            truth = local.hour >= 22 or local.hour < 8
            assert quiet_probability(name, at) == truth
            assert blocked[at.hour] or not truth


@pytest.mark.parametrize(
    ("name", "at", "local", "quiet"),
    [
        ("Europe/Berlin", "2026-03-29T00:59:59", "01:59 CET, a second before", True),
        ("Europe/Berlin", "2026-03-29T01:00:00", "03:00 CEST, 02:30 never was", True),
        ("Europe/Berlin", "2026-03-29T06:00:00", "08:00 CEST, an hour earlier than the day before", False),
        ("Europe/Berlin", "2026-03-28T06:00:00", "07:00 CET", True),
        ("Europe/Berlin", "2026-10-25T06:00:00", "07:00 CET", True),
        ("Europe/Berlin", "2026-10-24T06:00:00", "08:00 CEST", False),
        ("America/New_York", "2026-11-01T05:30:00", "01:30 EDT", True),
        ("America/New_York", "2026-11-01T06:30:00", "01:30 EST, the second one", True),
        ("Australia/Lord_Howe", "2026-04-04T21:00:00", "07:30 after half an hour back", True),
        ("Australia/Lord_Howe", "2026-04-03T21:00:00", "08:00", False),
    ],
)
def test_the_nights_of_the_clocks_change_are_read_off_the_clock(name: str, at: str, local: str, quiet: bool) -> None:
    """R38."""
    assert quiet_probability(name, datetime.fromisoformat(at).replace(tzinfo=UTC)) == quiet, local


@given(posteriors, times, quiets)
@settings(max_examples=100, deadline=None)
def test_the_probability_adds_up_the_offsets_where_it_is_quiet(
    found: ZonePosterior, at: datetime, quiet: tuple[int, int]
) -> None:
    minute = at.hour * 60 + at.minute
    expected = sum(
        p for p, o in zip(found.probabilities, OFFSETS, strict=True) if quiet_clock((minute + o) % 1440, quiet)
    )

    assert quiet_probability(found, at, quiet) == pytest.approx(expected)
    elsewhere = at.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert quiet_probability(found, elsewhere, quiet) == quiet_probability(found, at, quiet)


@given(posteriors, quiets)
@settings(max_examples=100, deadline=None)
def test_an_open_hour_is_below_the_bound_or_in_the_safe_window(found: ZonePosterior, quiet: tuple[int, int]) -> None:
    """R40: never less than the safe window, never an hour above the bound beside it."""
    blocked = quiet_hours_utc(found, NEW_YEAR, quiet)
    opened = [hour for hour in range(24) if not blocked[hour]]
    quarters = [timedelta(minutes=minute) for minute in (0, 15, 30, 45)]
    worst = {h: max(quiet_probability(found, MONDAY + h * HOUR + q, quiet) for q in quarters) for h in opened}

    assert len(opened) >= SAFE_HOURS
    if max(worst.values()) > zone.BOUND:
        assert len(opened) == SAFE_HOURS
        assert any(sorted((start + i) % 24 for i in range(SAFE_HOURS)) == opened for start in range(24))


def test_no_quiet_hours_leave_every_hour_open() -> None:
    assert quiet_hours_utc(zone_posterior(EMPTY, None), NEW_YEAR, (8, 8)) == (False,) * 24
    assert quiet_hours_utc("Europe/Berlin", NEW_YEAR, (8, 8)) == (False,) * 24


UNKNOWN = zone_posterior(EMPTY, None)
GERMAN = zone_posterior(EMPTY, "de")
CHINESE = zone_posterior(EMPTY, "zh-hans")


@pytest.mark.parametrize(
    ("where", "opened"),
    [
        # Nothing known: Europe's and Africa's afternoon, India's evening, the morning of most of America.
        (UNKNOWN, [12, 13, 14]),
        (zone_posterior(EMPTY, "xx"), [12, 13, 14]),
        (zone_posterior(pattern_of([MONDAY]), None), None),
        (zone_posterior(EMPTY, "en"), [11, 12, 13]),
        # A language of one country: its day, less the hour that summer time may take at either end.
        (GERMAN, list(range(7, 20))),
        # Set by the user: that clock, whatever activity says.
        ("Europe/Berlin", list(range(7, 21))),
        ("Asia/Tokyo", [23, *range(13)]),
        ("Asia/Kolkata", list(range(3, 16))),
    ],
)
def test_the_hours_left_to_write_in(where: ZonePosterior | str, opened: list[int] | None) -> None:
    """R40: unknown or doubtful, the safe window; the zone a user set wins and is exact."""
    found = [hour for hour in range(24) if not quiet_hours_utc(where, NEW_YEAR)[hour]]

    if opened is None:
        assert len(found) == SAFE_HOURS
    else:
        assert found == sorted(opened)


def test_the_zone_a_user_set_is_not_argued_with() -> None:
    """R40: somebody in Berlin whose app speaks Chinese sleeps when Berlin does, because they said so."""
    four_in_berlin = datetime(2026, 1, 5, 3, tzinfo=UTC)

    assert quiet_probability(CHINESE, four_in_berlin) < 0.1
    assert quiet_probability("Europe/Berlin", four_in_berlin) == 1


def test_the_day_decides_about_summer_time() -> None:
    winter, summer = (quiet_hours_utc("Europe/Berlin", date(2026, month, 15)) for month in (1, 7))

    assert winter.index(False) == 7
    assert summer.index(False) == 6


# --- the zone a user types ---


@pytest.mark.parametrize("name", [*ZONES, "Etc/GMT+5", "America/Argentina/Buenos_Aires", "Asia/Ho_Chi_Minh", "EST5EDT"])
def test_a_zone_of_the_database_is_taken_as_it_is(name: str) -> None:
    """R40."""
    assert checked_zone(name) == name


HOSTILE = (
    "",
    " ",
    ".",
    "..",
    "/",
    "../../etc/passwd",
    "/etc/localtime",
    "/usr/share/zoneinfo/Europe/Berlin",
    "Europe/../Europe/Berlin",
    "Europe//Berlin",
    "Europe/Berlin/",
    "./Europe/Berlin",
    "Europe",
    "Europe\\Berlin",
    "localtime",
    "posixrules",
    "posix/Europe/Berlin",
    "right/Europe/Berlin",
    "Factory",
    "zone.tab",
    "tzdata.zi",
    "__init__.py",
    "europe/berlin",
    "EUROPE/BERLIN",
    "utc",
    "Europe/Berlin\0",
    "Europe/Berlin\0.txt",
    "Europe/Berlin\n",
    " Europe/Berlin",
    "Europe/Berlin ",
    "Ｅurope/Berlin",
    "Еurope/Berlin",
    "Europe/Ber\u200blin",
    "Europe/Berlin\u202e",
    "Europe/Berli\u0131n",
    "Europe∕Berlin",
    "Mars/Olympus_Mons",
    "UTC+2",
    "+02:00",
    "${jndi:ldap://x}",
    "A" * 100_000,
    "Europe/" * 10_000,
    "\ud800",
)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_zone_is_rejected_with_a_message_that_is_safe_to_show(name: str) -> None:
    """R40: wherever a name comes in, and before it can be a path."""
    for refuse in (checked_zone, lambda typed: quiet_probability(typed, MONDAY)):
        with pytest.raises(BadZoneError, match="Europe/Berlin") as refusal:
            refuse(name)
        assert str(refusal.value).isascii()
        assert str(refusal.value).isprintable()
        assert len(str(refusal.value)) < 1_000
    with pytest.raises(BadZoneError):
        quiet_hours_utc(name, NEW_YEAR)


@given(st.text())
def test_whatever_is_typed_is_a_zone_or_refused(name: str) -> None:
    """R40."""
    with suppress(BadZoneError):
        assert ZoneInfo(checked_zone(name)).key == name


# --- on real people ---


@pytest.fixture(scope="module")
def everyone() -> list[Look]:
    return [look for path in sorted(STREAMS.glob("commits_*.csv.gz")) for look in looks(path)]


@pytest.mark.skipif(not STREAMS.is_dir(), reason="the public event streams are not beside this project")
def test_the_habits_are_those_of_the_public_streams(everyone: list[Look]) -> None:
    for (share, curve), (told_share, told) in zip(fit(everyone), HABITS, strict=True):
        assert share == pytest.approx(told_share, abs=0.011)
        assert curve == pytest.approx(told, abs=1)


@pytest.mark.skipif(not STREAMS.is_dir(), reason="the public event streams are not beside this project")
def test_confidence_is_the_share_that_is_right_among_people_never_seen(everyone: list[Look]) -> None:
    """R40: as the module says, each community judged by the others."""
    judged = left_out(everyone)
    newcomers = [row for row in judged if row[0].days <= 3]
    regulars = [row for row in judged if row[0].days >= 20]
    sure = [row for row in judged if row[1].confidence >= 0.6]

    for rows, told, share_right in ((newcomers, 0.38, 0.33), (regulars, 0.51, 0.49), (sure, 0.67, 0.65)):
        confidence, hits = means(rows)
        assert confidence == pytest.approx(told, abs=0.03)
        assert hits == pytest.approx(share_right, abs=0.03)
    opened, asleep = (sum(counts) for counts in zip(*(open_hours(*row) for row in regulars), strict=True))
    assert asleep / opened < zone.BOUND
