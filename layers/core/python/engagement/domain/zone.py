"""Where a user's clock stands: the zone they set, or a posterior over UTC offsets; and from it their quiet hours.

Telegram sends no time zone. Three things tell of one, by Bayes' rule over the clocks by which people live:

- the language of the user's app says where its speakers are (`_PLACES`: the prior);
- the UTC hours at which the user is active say when they are awake (`HABITS`: the likelihood);
- messages of one conversation are one observation, and a person's hours repeat, so evidence saturates (`EVIDENCE`).

Summer time: a place has a clock, which is one offset or two. A year's activity is a blur of both, so that a clock is
judged by the mean of its two and its probability is half at each: the hour is in the width of the posterior, and
`confidence` counts the neighbours in. Only a zone the user set is exact.

What it is worth, measured on 12,000 authors of commits, whose clocks are known, each set judged by habits and prior of
the other two (`python tests/bench/bench_zone.py <folder of event streams>` prints this again, and the constants):

| active days | 1 | 3 | 8 | 20 | 40 | 80 |
|---|---|---|---|---|---|---|
| mean confidence | .37 | .40 | .45 | .49 | .51 | .51 |
| share within an hour | .33 | .33 | .41 | .48 | .50 | .51 |
| hours open to messages | 3.0 | 3.2 | 3.8 | 4.7 | 4.9 | 5.3 |
| of them, in quiet hours | .19 | .16 | .11 | .06 | .09 | .10 |

Activity alone finds the hour of every second regular user, so the quiet hours use all of the posterior, never its best
offset. The share of a language's speakers at home is an assumption (`ABROAD`, `_PLACES`): no public stream tells both.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from importlib.resources import files
from math import exp, log, sumprod
from zoneinfo import ZoneInfo

from engagement.domain.pattern import HOURS_OF_DAY, Pattern
from engagement.errors import BadZoneError

QUIET = (22, 8)
"""Local hours: from the first, inclusive, to the second, exclusive."""
BOUND = 0.1
"""Largest probability of being in quiet hours at which a message may be written."""
SAFE_HOURS = 3
"""Length of the window that is left to users of whom too little is known."""
NEAR = 60
"""Minutes; an offset this close is as good as right."""
NEARLY = 0.02
"""Probability; offsets whose surroundings differ by less are told apart by their own."""
DAY_MINUTES = 24 * 60
QUARTER = 15
"""Minutes; every offset in use, and every change of clocks, is a multiple of it."""

# fmt: off
HABITS: tuple[tuple[float, tuple[int, ...]], ...] = (
    (0.37, (13, 9, 6, 5, 4, 6, 11, 20, 38, 59, 72, 77, 75, 77, 83, 82, 76, 66, 55, 43, 38, 36, 30, 21)),
    (0.41, (59, 43, 28, 17, 11, 7, 6, 8, 14, 21, 30, 40, 46, 51, 51, 49, 54, 58, 60, 63, 68, 70, 73, 72)),
    (0.22, (44, 47, 48, 48, 47, 45, 41, 39, 40, 40, 42, 41, 38, 37, 38, 38, 41, 40, 40, 41, 42, 42, 41, 41)),
)
# fmt: on
"""Share of the users who live like this, and their activity by local hour, per mille: office days; evenings; any hour
(odd lives, and clocks set to something else than where they are). Fitted by `tests/bench/bench_zone.py`."""
EVIDENCE = 20.0
"""The hours of a lifetime weigh like this many independent observations, and no more."""
EVIDENCE_HALF = 40.0
"""Active hours (`active_hours`, summed) at which half of `EVIDENCE` is reached."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Users of Telegram who share a clock.

    Attributes:
        countries: ISO 3166 codes, for a region in a language tag.
        users: millions a month.
        standard: minutes of UTC offset in winter.
        summer: minutes of UTC offset in summer; the same where the clocks do not change.
        languages: share of the users whose app speaks it; the rest speak something that tells nothing here.
    """

    countries: str
    users: float
    standard: int
    summer: int
    languages: dict[str, float]


# Telegram publishes no users by country. The anchors: 1,000 million a month (its founder, March 2025), 38 % of the
# new ones in Asia, 27 % in Europe, 21 % in Latin America, 8 % in the Middle East and North Africa (he, January 2021);
# Russia 85 million (the operator MTS, 2023), Iran 35 to 40, Uzbekistan 18 to 24, Kazakhstan 12.5 (press, 2017 to 2024),
# 45 % of those online in India and nearly 40 % in Brazil (Statista Consumer Insights, 2024). The other rows and the
# languages are estimates, from population and from how common Telegram is among the neighbours: a factor of two in any
# of them is what one or two hours of activity outweigh.
_PLACES = (
    _Place("RU", 60, 180, 180, {"ru": 0.95, "en": 0.05}),
    _Place("RU", 5, 240, 240, {"ru": 0.97, "en": 0.03}),
    _Place("RU", 11, 300, 300, {"ru": 0.97, "en": 0.03}),
    _Place("RU", 2, 360, 360, {"ru": 0.97, "en": 0.03}),
    _Place("RU", 8, 420, 420, {"ru": 0.97, "en": 0.03}),
    _Place("RU", 3, 480, 480, {"ru": 0.97, "en": 0.03}),
    _Place("RU", 1.5, 540, 540, {"ru": 0.97, "en": 0.03}),
    _Place("RU", 2.5, 600, 600, {"ru": 0.97, "en": 0.03}),
    _Place("RU", 0.7, 660, 660, {"ru": 0.97, "en": 0.03}),
    _Place("RU", 0.3, 720, 720, {"ru": 0.97, "en": 0.03}),
    _Place("UA", 22, 120, 180, {"uk": 0.5, "ru": 0.4, "en": 0.1}),
    _Place("BY", 5, 180, 180, {"ru": 0.9, "be": 0.03, "en": 0.07}),
    _Place("EE LV LT FI", 3, 120, 180, {"ru": 0.4, "en": 0.4}),
    _Place("RO MD BG GR CY", 10, 120, 180, {"ro": 0.35, "ru": 0.15, "en": 0.25}),
    _Place("AM AZ GE", 8, 240, 240, {"ru": 0.35, "az": 0.25, "en": 0.2}),
    _Place("KZ", 12.5, 300, 300, {"ru": 0.75, "kk": 0.15, "en": 0.1}),
    _Place("UZ", 22, 300, 300, {"uz": 0.45, "ru": 0.4, "en": 0.15}),
    _Place("TJ TM", 4, 300, 300, {"ru": 0.6, "en": 0.2}),
    _Place("KG", 3.5, 360, 360, {"ru": 0.8, "en": 0.15}),
    _Place("GB IE", 9, 0, 60, {"en": 0.88, "ru": 0.03, "ar": 0.02}),
    _Place("PT", 2, 0, 60, {"pt": 0.75, "en": 0.2}),
    _Place("IT", 18, 60, 120, {"it": 0.88, "en": 0.07, "ru": 0.02}),
    _Place("ES", 16, 60, 120, {"es": 0.8, "ca": 0.06, "en": 0.06, "ru": 0.04}),
    _Place("DE AT CH", 17, 60, 120, {"de": 0.65, "ru": 0.12, "en": 0.12, "tr": 0.03, "uk": 0.03, "fa": 0.02}),
    _Place("FR BE LU", 12, 60, 120, {"fr": 0.75, "nl": 0.06, "en": 0.08, "ar": 0.04}),
    _Place("NL", 4, 60, 120, {"nl": 0.65, "en": 0.25}),
    _Place("PL", 5, 60, 120, {"pl": 0.6, "uk": 0.15, "ru": 0.12, "en": 0.1}),
    _Place("CZ SK HU", 4, 60, 120, {"cs": 0.4, "hu": 0.2, "ru": 0.1, "uk": 0.1, "en": 0.12}),
    _Place("RS HR BA ME SI MK AL", 5, 60, 120, {"sr": 0.4, "ru": 0.15, "en": 0.3}),
    _Place("SE NO DK", 3, 60, 120, {"en": 0.45, "ru": 0.05, "fa": 0.05, "ar": 0.05}),
    _Place("TR", 26, 180, 180, {"tr": 0.88, "en": 0.05, "ru": 0.03, "ar": 0.03}),
    _Place("IL PS", 6, 120, 180, {"he": 0.4, "ru": 0.25, "ar": 0.2, "en": 0.15}),
    _Place("IQ SA YE SY JO KW QA BH", 38, 180, 180, {"ar": 0.82, "en": 0.15}),
    _Place("AE OM", 6, 240, 240, {"ar": 0.25, "en": 0.55, "ru": 0.12}),
    _Place("IR", 40, 210, 210, {"fa": 0.9, "en": 0.1}),
    _Place("AF", 3, 270, 270, {"fa": 0.6, "en": 0.3}),
    _Place("EG LB", 22, 120, 180, {"ar": 0.85, "en": 0.15}),
    _Place("SD LY", 6, 120, 120, {"ar": 0.85, "en": 0.15}),
    _Place("DZ MA TN", 14, 60, 60, {"ar": 0.5, "fr": 0.42, "en": 0.08}),
    _Place("ET KE TZ UG SO", 22, 180, 180, {"en": 0.8, "am": 0.12, "ar": 0.02}),
    _Place("NG CM AO CD", 24, 60, 60, {"en": 0.82, "fr": 0.1, "pt": 0.05}),
    _Place("ZA ZW ZM MZ", 10, 120, 120, {"en": 0.9, "pt": 0.05}),
    _Place("GH CI SN ML", 8, 0, 0, {"en": 0.5, "fr": 0.48}),
    _Place("IN LK", 170, 330, 330, {"en": 0.85, "hi": 0.08, "ta": 0.02}),
    _Place("PK", 10, 300, 300, {"en": 0.85, "ur": 0.1}),
    _Place("BD", 14, 360, 360, {"en": 0.6, "bn": 0.38}),
    _Place("NP", 3, 345, 345, {"en": 0.8, "ne": 0.15}),
    _Place("MM", 9, 390, 390, {"en": 0.55, "my": 0.4}),
    _Place("ID", 50, 420, 420, {"id": 0.8, "en": 0.2}),
    _Place("ID", 8, 480, 480, {"id": 0.85, "en": 0.15}),
    _Place("ID", 1.5, 540, 540, {"id": 0.85, "en": 0.15}),
    _Place("VN", 13, 420, 420, {"vi": 0.8, "en": 0.18}),
    _Place("TH KH LA", 14, 420, 420, {"th": 0.4, "km": 0.15, "en": 0.35, "zh": 0.05}),
    _Place("MY SG BN", 20, 480, 480, {"en": 0.6, "ms": 0.2, "zh": 0.18}),
    _Place("PH", 20, 480, 480, {"en": 0.93}),
    _Place("CN TW HK MO", 20, 480, 480, {"zh": 0.88, "en": 0.12}),
    _Place("JP KR", 10, 540, 540, {"ja": 0.35, "ko": 0.45, "en": 0.12}),
    _Place("AU", 0.8, 480, 480, {"en": 0.85}),
    _Place("AU", 0.5, 570, 630, {"en": 0.85}),
    _Place("AU", 4, 600, 660, {"en": 0.8, "zh": 0.05}),
    _Place("NZ", 0.7, 720, 780, {"en": 0.9}),
    _Place("NZ", 0.001, 765, 825, {"en": 0.9}),
    _Place("US CA", 15, -300, -240, {"en": 0.78, "es": 0.08, "ru": 0.05, "fr": 0.02, "zh": 0.02, "fa": 0.01}),
    _Place("US CA", 8, -360, -300, {"en": 0.82, "es": 0.12, "ru": 0.02}),
    _Place("US CA", 2, -420, -360, {"en": 0.85, "es": 0.1}),
    _Place("US CA", 7, -480, -420, {"en": 0.78, "es": 0.1, "ru": 0.03, "zh": 0.03, "fa": 0.02}),
    _Place("US", 0.1, -540, -480, {"en": 0.9}),
    _Place("US", 0.2, -600, -600, {"en": 0.9}),
    _Place("CA", 0.05, -210, -150, {"en": 0.95}),
    _Place("MX GT SV HN CR NI", 30, -360, -360, {"es": 0.92, "en": 0.07}),
    _Place("MX", 2, -420, -420, {"es": 0.92, "en": 0.07}),
    _Place("CO PE EC PA", 24, -300, -300, {"es": 0.95, "en": 0.04}),
    _Place("CU", 4, -300, -240, {"es": 0.98}),
    _Place("VE BO DO", 13, -240, -240, {"es": 0.95, "en": 0.04}),
    _Place("CL", 5, -240, -180, {"es": 0.95, "en": 0.04}),
    _Place("AR UY PY", 14, -180, -180, {"es": 0.95, "en": 0.04}),
    _Place("BR", 56, -180, -180, {"pt": 0.96, "en": 0.03}),
    _Place("BR", 5, -240, -240, {"pt": 0.97, "en": 0.02}),
    _Place("BR GL", 0.02, -120, -60, {"pt": 0.7}),
    _Place("CV PT", 0.2, -60, 0, {"pt": 0.8}),
    _Place("AS NU", 0.01, -660, -660, {"en": 0.9}),
    _Place("PF", 0.002, -570, -570, {"fr": 0.9}),
    _Place("TO WS", 0.02, 780, 780, {"en": 0.9}),
    _Place("KI", 0.01, 840, 840, {"en": 0.9}),
)
ABROAD = 0.1
"""Share of a language's speakers who may be anywhere that Telegram is used."""
REGION = 5.0
"""A country named in the tag counts this many times: many apps say en-US far from the United States."""
ANYWHERE = 0.0005
"""Least prior of a clock by which people live: the smallest islands stay possible."""

CLOCKS = tuple(sorted({(place.standard, place.summer) for place in _PLACES}))
"""Minutes of UTC offset in winter and in summer; the clocks by which people live."""

OFFSETS = tuple(sorted({offset for clock in CLOCKS for offset in clock}))
"""Minutes; the UTC offsets at which people live."""
_ENDS = tuple((OFFSETS.index(standard), OFFSETS.index(summer)) for standard, summer in CLOCKS)
_NEIGHBOURS = tuple(tuple(float(abs(offset - other) <= NEAR) for other in OFFSETS) for offset in OFFSETS)
_LANGUAGES = frozenset(language for place in _PLACES for language in place.languages)
_COUNTRIES = frozenset(country for place in _PLACES for country in place.countries.split())


@dataclass(frozen=True, slots=True)
class ZonePosterior:
    """What is known of a user's UTC offset.

    Attributes:
        probabilities: of `OFFSETS`, in their order; positive, sum to 1.
    """

    probabilities: tuple[float, ...]

    @property
    def best_minutes(self) -> int:
        """The offset around which an hour either way holds the most; of nearly equal ones the likeliest."""
        return OFFSETS[self._best()]

    @property
    def confidence(self) -> float:
        """Probability, [0, 1], that the true offset is within an hour of `best_minutes`."""
        return min(sumprod(self.probabilities, _NEIGHBOURS[self._best()]), 1.0)

    def _best(self) -> int:
        around = [sumprod(self.probabilities, near) for near in _NEIGHBOURS]
        enough = max(around) - NEARLY
        return max((p, i) for i, p in enumerate(self.probabilities) if around[i] >= enough)[1]


def zone_posterior(pattern: Pattern, language_code: str | None) -> ZonePosterior:
    """Return what a user's activity and the language of their app tell of their UTC offset.

    Args:
        pattern: the user's; of an empty one only the language speaks.
        language_code: IETF tag; one that `_PLACES` does not know, and None, mean anywhere.
    """
    return posterior(active_hours(pattern), prior(language_code))


def posterior(hours: tuple[float, ...], before: tuple[float, ...], habits: "Habits | None" = None) -> ZonePosterior:
    """Return Bayes' rule: the prior times the likelihood of the hours, over `CLOCKS`, told by offset.

    Args:
        hours: as `active_hours` gives them.
        before: prior of `CLOCKS`, positive.
        habits: as `shifted` gives them; the bundled ones by default.
    """
    each = EVIDENCE / (sum(hours) + EVIDENCE_HALF)
    weights = [each * hour for hour in hours]
    likelihood = [0.0] * len(OFFSETS)
    for share, curves in _BUNDLED if habits is None else habits:
        for i, curve in enumerate(curves):
            # Cannot underflow: no hour of `HABITS` is below 0.4 %, so that `EVIDENCE` keeps this above exp(-111).
            likelihood[i] += share * exp(sumprod(weights, curve))
    joint = [0.0] * len(OFFSETS)
    for p, (standard, summer) in zip(before, _ENDS, strict=True):
        half = p * (likelihood[standard] + likelihood[summer])
        joint[standard] += half
        joint[summer] += half
    evidence = sum(joint)
    return ZonePosterior(tuple(p / evidence for p in joint))


def active_hours(pattern: Pattern) -> tuple[float, ...]:
    """Return how often the user was active in each UTC hour of day; 24 numbers >= 0.

    Weeks of the last year that saw the hour, plus the active days of the lifetime, spread over its hours: a burst of
    messages counts as one.
    """
    weeks = "".join(f"{mask:024b}" for _, mask in pattern.weeks)
    each = len(pattern.days) / pattern.total if pattern.total else 0.0
    return tuple(
        weeks[HOURS_OF_DAY - 1 - hour :: HOURS_OF_DAY].count("1")
        + each * sum(pattern.hours_of_week[hour::HOURS_OF_DAY])
        for hour in range(HOURS_OF_DAY)
    )


type Habits = tuple[tuple[float, tuple[tuple[float, ...], ...]], ...]
"""For each habit: its share of the users, and for each of `OFFSETS` the log share of each UTC hour."""


def shifted(habits: tuple[tuple[float, tuple[int, ...]], ...]) -> Habits:
    """Return habits given by local hour as seen in UTC from each of `OFFSETS`."""
    return tuple((share, tuple(_seen_from(offset, curve) for offset in OFFSETS)) for share, curve in habits)


def _seen_from(offset: int, curve: tuple[int, ...]) -> tuple[float, ...]:
    ahead, minutes = divmod(offset, 60)
    total = sum(curve)
    logs = []
    for hour in range(HOURS_OF_DAY):
        # A UTC hour covers two local ones where the offset is not whole.
        here, following = curve[(hour + ahead) % HOURS_OF_DAY], curve[(hour + ahead + 1) % HOURS_OF_DAY]
        logs.append(log((here + minutes / 60 * (following - here)) / total))
    return tuple(logs)


_BUNDLED = shifted(HABITS)


def prior(language_code: str | None) -> tuple[float, ...]:
    """Return by which clocks the users of an app in this language live: of `CLOCKS`, positive, sum to 1."""
    language, *others = (language_code or "").replace("_", "-").split("-")
    language = language.lower()
    region = next((other.upper() for other in others if other.upper() in _COUNTRIES), "")
    return _prior(language if language in _LANGUAGES else "", region)


# As many entries as languages times regions; an unknown tag is none of them.
@lru_cache
def _prior(language: str, region: str) -> tuple[float, ...]:
    world = dict.fromkeys(CLOCKS, 0.0)
    speakers = dict.fromkeys(CLOCKS, 0.0)
    for place in _PLACES:
        named = REGION if region in place.countries.split() else 1.0
        spoken = place.languages.get(language, 0.0) if language else 1.0
        world[place.standard, place.summer] += place.users
        speakers[place.standard, place.summer] += place.users * named * spoken
    abroad, at_home = ABROAD / sum(world.values()), (1 - ABROAD) / sum(speakers.values())
    raw = [at_home * speakers[clock] + abroad * world[clock] + ANYWHERE for clock in CLOCKS]
    return tuple(p / sum(raw) for p in raw)


def quiet_probability(where: ZonePosterior | str, at: datetime, quiet: tuple[int, int] = QUIET) -> float:
    """Return the probability, [0, 1], that a moment lies in the user's quiet hours.

    Args:
        where: the IANA zone the user set, then the answer is 0 or 1 by its clock; else the posterior.
        at: aware.
        quiet: first local hour and the hour they end, each [0, 24); two equal ones mean none.

    Raises:
        BadZoneError: no such zone.
    """
    if isinstance(where, str):
        local = at.astimezone(_zone(where))
        return float(_is_quiet(local.hour * 60 + local.minute, quiet))
    utc = at.astimezone(UTC)
    minute = utc.hour * 60 + utc.minute
    return min(sum(p for p, o in zip(where.probabilities, OFFSETS, strict=True) if _is_quiet(minute + o, quiet)), 1.0)


def quiet_hours_utc(
    where: ZonePosterior | str, day: date, quiet: tuple[int, int] = QUIET, bound: float = BOUND
) -> tuple[bool, ...]:
    """Return the hours of a UTC day in which the user must not be written to; 24 of them, True = quiet.

    An hour is quiet where any part of it is, by the zone the user set, or with more than `bound` probability by the
    posterior. Where that leaves fewer than `SAFE_HOURS`, the least bad `SAFE_HOURS` in a row are left instead: somebody
    of whom nothing is known is written to when most of those who might be them are up.

    Args:
        where: the IANA zone the user set, or the posterior.
        day: in UTC; decides about summer time.
        quiet: as for `quiet_probability`.
        bound: [0, 1).

    Raises:
        BadZoneError: no such zone.
    """
    if isinstance(where, str):
        midnight = datetime.combine(day, time(), UTC)
        quarters = [midnight + timedelta(minutes=minute) for minute in range(0, DAY_MINUTES, QUARTER)]
        heard = [quiet_probability(where, at, quiet) > 0 for at in quarters]
        return tuple(any(heard[i : i + 60 // QUARTER]) for i in range(0, len(heard), 60 // QUARTER))
    odds = [sumprod(where.probabilities, touched) for touched in _touched(quiet)]
    blocked = [p > bound for p in odds]
    if blocked.count(False) < SAFE_HOURS:
        windows = [[(start + i) % HOURS_OF_DAY for i in range(SAFE_HOURS)] for start in range(HOURS_OF_DAY)]
        safest = min(windows, key=lambda window: sum(odds[hour] for hour in window))
        blocked = [hour not in safest for hour in range(HOURS_OF_DAY)]
    return tuple(blocked)


@lru_cache(maxsize=32)
def _touched(quiet: tuple[int, int]) -> tuple[tuple[float, ...], ...]:
    """For each UTC hour, whether any of it is quiet at each of `OFFSETS`."""
    return tuple(
        tuple(
            float(any(_is_quiet(hour * 60 + quarter + offset, quiet) for quarter in range(0, 60, QUARTER)))
            for offset in OFFSETS
        )
        for hour in range(HOURS_OF_DAY)
    )


def _is_quiet(minute: int, quiet: tuple[int, int]) -> bool:
    start, end = quiet
    return (minute // 60 - start) % HOURS_OF_DAY < (end - start) % HOURS_OF_DAY


_NAME = re.compile(r"[A-Za-z0-9_+/-]{1,64}", re.ASCII)


def checked_zone(name: str) -> str:
    """Return the name of an IANA zone as it is, if it is one.

    The name is looked up in a list before it comes near a path: on its way to a file, `../` and `localtime` would be
    found too, and on some systems any spelling.

    Raises:
        BadZoneError: not a name of the IANA database, in its spelling.
    """
    if not is_zone(name):
        raise BadZoneError(f"{name[:64]!a} is no time zone; take a name like Europe/Berlin, spelled like this")
    return name


def is_zone(name: str) -> bool:
    """Say whether a name is one of the IANA database, in its spelling."""
    return bool(_NAME.fullmatch(name)) and name in _names()


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    # "Factory" means that nobody has set the clock.
    return frozenset(files("tzdata").joinpath("zones").read_text("ascii").split()) - {"Factory"}


@lru_cache(maxsize=1_024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(checked_zone(name))
