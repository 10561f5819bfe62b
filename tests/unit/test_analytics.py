"""Analytics: the guide's figures from the counters, and a page that a stranger understands."""

import json
from collections import Counter
from datetime import date, timedelta
from io import StringIO

import pytest
from rich.console import Console

from engagement.domain.lift import Lift, report
from engagement.services.analytics import Analytics
from infra.cli.report import rendered
from tests.builders import NOW

TODAY = NOW.date()
WIDTH = 100


class Counters:
    """Counters in memory."""

    def __init__(
        self,
        days: dict[date, Counter[str]] | None = None,
        gauges: Counter[str] | None = None,
        groups: dict[str, Counter[str]] | None = None,
    ) -> None:
        self._days, self._gauges, self._groups = days or {}, gauges or Counter(), groups or {}

    def of_days(self, bot_id: int, first_day: date, last_day: date) -> dict[date, Counter[str]]:
        return {day: counts for day, counts in self._days.items() if first_day <= day <= last_day}

    def gauges(self, bot_id: int) -> Counter[str]:
        return self._gauges

    def lift(self, bot_id: int, experiment: str) -> dict[str, Counter[str]]:
        return self._groups if experiment == "first" else {}


def analytics(**counted: object) -> Analytics:
    return Analytics(bot_id=1, statistics=Counters(**counted), experiment="first")


SENT = {
    TODAY: Counter({"planned:re_engagement": 10, "sent:re_engagement": 4, "sent@re_engagement.plain": 4, "dau": 3}),
    TODAY - timedelta(days=29): Counter(
        {
            "planned:re_engagement": 30,
            "sent:re_engagement": 16,
            "responded:re_engagement": 5,
            "held_out:re_engagement": 2,
            "failed:re_engagement": 1,
            "planned:mood_support": 10,
            "sent:mood_support": 10,
            "responded:mood_support": 5,
            "opened:re_engagement": 4,
            "not_now:re_engagement": 3,
            "stopped:re_engagement": 2,
            "left:re_engagement": 1,
            "stopped:mood_support": 1,
            "not_now@re_engagement.plain": 3,
            "stopped@re_engagement.plain": 2,
            "left@re_engagement.plain": 1,
            "sent@re_engagement.plain": 6,
            "sent@re_engagement.question+ai": 10,
            "responded@re_engagement.question+ai": 5,
            "sent@mood_support.calm": 10,
            "responded@mood_support.calm": 5,
            "dau": 7,
            "award:first_message": 2,
            "award:week_streak": 3,
        }
    ),
    TODAY - timedelta(days=30): Counter({"planned:re_engagement": 1_000, "sent:re_engagement": 1_000, "dau": 900}),
}


def group(treated: Counter[str], held_out: Counter[str]) -> Counter[str]:
    """Sums of an experiment that draws nine in ten."""
    sums = Counter({f"treated:{name}": count for name, count in treated.items()})
    sums.update({f"held_out:{name}": count for name, count in held_out.items()})
    users = treated["users"] + held_out["users"]
    sums.update(expected=900_000 * users, surprise=105_360_515 * treated["users"] + 2_302_585_092 * held_out["users"])
    return sums


HELPFUL = group(
    Counter(users=9_000, returned_7d=3_600, returned_24h=1_800, blocked=90, opted_out=190),
    Counter(users=1_000, returned_7d=290, returned_24h=145, blocked=4, opted_out=4),
)
SMALL = group(Counter(users=371, returned_7d=111, opted_out=9), Counter(users=41, returned_7d=12))


def test_the_outreach_of_a_period_has_the_guides_figures() -> None:
    """R91: the guide's get_outreach_analytics, and each kind of press apart; the day before does not count."""
    found = analytics(days=SENT).get_outreach_analytics(days=30, now=NOW)

    assert found["period_days"] == 30
    assert found["overall_metrics"] == {
        "total_outreaches": 50,
        "successful_sends": 30,
        "total_responses": 10,
        "opened": 4,
        "not_now": 3,
        "stopped": 3,
        "left": 1,
        "held_out": 2,
        "send_rate": 60.0,
        "response_rate": pytest.approx(100 / 3),
    }
    assert found["held_out"] == 2
    assert list(found["by_outreach_type"]) == ["re_engagement", "mood_support"]
    assert found["by_outreach_type"]["mood_support"]["response_rate"] == 50.0
    assert f"Response rate: {found['overall_metrics']['response_rate']:.1f}%" == "Response rate: 33.3%"


def test_each_text_has_its_rate_and_how_sure_it_is() -> None:
    found = analytics(days=SENT).get_outreach_analytics(now=NOW)["template_performance"]

    assert list(found) == ["mood_support.calm", "re_engagement.plain", "re_engagement.question+ai"]
    plain, question = found["re_engagement.plain"], found["re_engagement.question+ai"]
    assert (plain["sends"], plain["responses"], plain["response_rate"]) == (10, 0, 0.0)
    assert (plain["not_now"], plain["stopped"], plain["left"]) == (3, 2, 1), "R91"
    assert (question["not_now"], question["stopped"], question["left"]) == (0, 0, 0)
    assert plain["interval"] == pytest.approx([0.0, 27.753], abs=1e-3)
    assert question["interval"][0] < question["response_rate"] == 50.0 < question["interval"][1]


def test_where_nothing_was_sent_every_rate_is_nought() -> None:
    found = analytics().get_outreach_analytics(7, now=NOW)

    assert found["overall_metrics"]["send_rate"] == found["overall_metrics"]["response_rate"] == 0.0
    assert found["by_outreach_type"] == found["template_performance"] == {}
    assert found["lift"] == []


@pytest.mark.parametrize("days", [0, -1])
def test_a_period_has_a_day_at_least(days: int) -> None:
    with pytest.raises(ValueError, match="1 day or more"):
        analytics().get_outreach_analytics(days, now=NOW)


def test_the_lift_goes_with_it_and_all_of_it_is_json() -> None:
    """Also where a relative lift has no limit: JSON has no infinity."""
    found = analytics(groups={"all": group(Counter(users=5, returned_7d=2), Counter(users=1))})
    told = json.loads(json.dumps(found.get_outreach_analytics(now=NOW), allow_nan=False))

    (lift,) = told["lift"]
    assert lift["group"] == "all"
    assert lift["split"]["broken"] is False
    assert lift["effects"]["returned_7d"]["relative_interval"][1] is None
    assert lift["effects"]["returned_7d"]["verdict"] == "not known yet"
    assert lift["effects"]["mood"]["interval"] is None


def test_the_dashboard_has_the_guides_four_parts() -> None:
    """The guide's get_engagement_dashboard_data."""
    gauges = Counter({"band:0": 5, "band:4": 2})
    found = analytics(days=SENT, gauges=gauges).get_engagement_dashboard_data(now=NOW)

    assert list(found) == [
        "daily_active_users",
        "churn_risk_distribution",
        "outreach_performance",
        "milestone_progress",
    ]
    active = found["daily_active_users"]
    assert len(active) == 30
    assert (active["2026-10-24"], active["2026-10-25"], active["2026-11-22"]) == (7, 0, 3)
    assert found["churn_risk_distribution"] == {"0-20%": 5, "20-40%": 0, "40-60%": 0, "60-80%": 0, "80-100%": 2}
    assert found["outreach_performance"]["overall_metrics"]["total_outreaches"] == 50
    assert list(found["milestone_progress"].items()) == [("week_streak", 3), ("first_message", 2)]


def page(groups: dict[str, Counter[str]]) -> str:
    """The report as a terminal of a usual width shows it."""
    paper = StringIO()
    console = Console(width=WIDTH, file=paper)
    lifts: list[Lift] = report(groups)
    console.print(rendered(analytics(days=SENT).get_outreach_analytics(now=NOW), lifts, "first", NOW))
    return paper.getvalue()


@pytest.mark.parametrize("groups", [{}, {"all": SMALL}, {"all": HELPFUL, "milestone_celebration": SMALL}])
def test_the_page_fits_a_terminal_and_cuts_nothing_off(groups: dict[str, Counter[str]]) -> None:
    lines = page(groups).splitlines()

    assert max(map(len, lines)) <= WIDTH
    assert "…" not in "".join(lines)


def test_the_page_says_benefit_and_harm_side_by_side() -> None:
    shown = page({"all": HELPFUL})

    assert "Of 100 users written to, 11.0 more come back within 7 days (5.7 to 16.3), +38%" in shown
    assert "No harm shown: of 100 users written to, at most 1.5 more blocked the bot." in shown
    assert "Harm: of 100 users written to, 1.7 more stopped messages (0.2 to 2.8)." in shown
    assert "9,000 of 10,000 users are in the arm written to; 9,000.0 were expected: as drawn." in shown


def test_the_page_says_what_too_few_users_cannot_show() -> None:
    shown = page({"all": SMALL})

    assert "Not known yet whether messages bring anybody back." in shown
    assert "With 412 users (371 written to, 41 held out) this can only see effects above" in shown
    assert "To see an effect of 5 points takes" in shown


def test_the_page_gives_no_all_clear_where_harm_could_be_large() -> None:
    shown = page({"all": SMALL})

    assert "Not known yet whether it harms: of 100 users written to, at most 7.1 more stopped messages." in shown


def test_the_page_claims_nothing_where_the_split_is_broken() -> None:
    broken = Counter(HELPFUL)
    broken["surprise"] += 700 * 1_000_000_000
    shown = page({"all": broken, "mood_support": broken})

    assert "believe no effect" in shown
    assert "Harm:" not in shown
    assert "helps" not in shown
    assert "broken split" in shown


def test_the_page_says_when_there_will_be_something_to_say() -> None:
    assert "outcomes count 8 days after a message was sent, or held out" in page({})
