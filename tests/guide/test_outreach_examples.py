"""The guide's usage examples of proactive outreach, on a real table.

They differ from the guide's text in two points: nothing is awaited, and every call is told what time it is (`now`).
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from engagement.domain.analysis import quality
from engagement.domain.gate import Policy, Reason, charge
from engagement.domain.interaction import EngagementType, Interaction, SentimentType
from engagement.domain.outcomes import expose
from engagement.domain.outreach import Arm, Outreach, OutreachType
from engagement.domain.planning import Thresholds
from engagement.domain.population import BUNDLED
from engagement.domain.profile import Consent
from engagement.domain.sentiment import level, sentiment
from engagement.domain.templates import Texts
from engagement.domain.words import words
from engagement.services.analytics import Analytics
from engagement.services.analyzer import EngagementAnalyzer
from engagement.services.outreach import Desk, ProactiveOutreachService
from engagement.services.planner import Planner
from engagement.services.predictor import BehavioralPredictor
from engagement.store import keys
from engagement.store.outreaches import Outreaches
from engagement.store.patterns import Patterns
from engagement.store.profiles import Profiles, first_contact
from engagement.store.scores import Scores
from engagement.store.statistics import Statistics
from engagement.store.table import ProfileItem, keyed
from tests.builders import NOW, interaction, policy

BOT = 123456
USER = 7_000_000_001


@pytest.fixture
def service(table: str) -> Callable[..., ProactiveOutreachService]:
    """Make the service over the real stores, for users of whom one has agreed to be written to."""
    pk = keys.user(BOT, USER)
    complete = first_contact("Ada", "de", USER, NOW - timedelta(days=90), pk)
    keyed(ProfileItem, pk, keys.PROFILE).update(actions=list(complete.values()))
    Profiles().record_consent(BOT, USER, Consent.GRANTED, NOW)

    def make(**changes: Any) -> ProactiveOutreachService:
        allowed: Policy = policy(**{"quiet": (22, 8)} | changes)
        desk = Desk(
            bot_id=BOT,
            planner=Planner(allowed, Texts),
            patterns=Patterns(),
            profiles=Profiles(),
            population=lambda now: BUNDLED,
        )
        return ProactiveOutreachService(
            Outreaches(),
            desk=desk,
            analytics=Analytics(bot_id=BOT, statistics=Statistics(), experiment=allowed.experiment.name),
        )

    return make


@pytest.fixture
def outreach_service(service: Callable[..., ProactiveOutreachService]) -> ProactiveOutreachService:
    return service()


def planned() -> list[Outreach]:
    return Outreaches().of_user(BOT, USER)


def says(text: str, update_id: int, days_ago: float) -> Interaction:
    """A message, measured as the webhook measures it."""
    found, score = words(text), sentiment(text, "en")
    return interaction(
        update_id,
        NOW - timedelta(days=days_ago),
        bot_id=BOT,
        user_id=USER,
        sentiment=score,
        sentiment_type=level(score),
        quality=quality(EngagementType.MESSAGE, found, spoken_seconds=0, is_question=text.endswith("?"), is_reply=True),
    )


def test_advanced_integration_a_negative_message_brings_support(outreach_service: ProactiveOutreachService) -> None:
    """The guide's "Schedule mood support outreach"; R37: once, however often it is asked for."""
    engagement = says("this is terrible, I hate it, I am so sad", 1, days_ago=0)

    assert engagement.sentiment_type in {SentimentType.VERY_NEGATIVE, SentimentType.NEGATIVE}
    result = outreach_service.create_mood_support_outreach(
        user_id=USER, mood_trend=-0.6, recent_sentiment=engagement.sentiment_type, now=NOW
    )
    again = outreach_service.create_mood_support_outreach(
        user_id=USER, mood_trend=-0.6, recent_sentiment=engagement.sentiment_type, now=NOW + timedelta(hours=1)
    )

    assert result.words == "planned for 2026-11-22 12:00 UTC"
    assert again.reason is Reason.ALREADY_PLANNED
    assert [(o.outreach_type, o.due_at) for o in planned()] == [("mood_support", NOW)]
    cheerful = outreach_service.create_mood_support_outreach(USER, 0.2, "positive", now=NOW)
    assert cheerful.words == "not planned: what called for it is gone, for example because they came back"


def test_advanced_integration_a_high_churn_risk_is_answered_with_priority(
    outreach_service: ProactiveOutreachService,
) -> None:
    """The guide's "High churn risk - immediate re-engagement", with the predictor that comes with the code."""
    analyzer = EngagementAnalyzer(Patterns(), Scores(), Profiles())
    long_ago = [says("good morning", day, 100 + day) for day in range(1, 9)]
    engagement = says(
        "I have been thinking about what you said on Monday, and I believe that small steps every morning, with tea "
        "and no phone at all, would suit me far better than another big plan; which one should I begin with?",
        100,
        days_ago=30,
    )
    analyzer.update_user_behavior_patterns([*long_ago, engagement])
    predictor = BehavioralPredictor(
        bot_id=BOT,
        patterns=Patterns(),
        profiles=Profiles(),
        population=lambda now: BUNDLED,
        models=None,
        thresholds=Thresholds(re_engagement=0.8, checkin=0.6),
    )

    assert engagement.quality > 0.7
    churn_prediction = predictor.predict_churn_risk(USER, now=NOW)
    assert churn_prediction.prediction > 0.8
    result = outreach_service.schedule_proactive_outreach(
        user_id=USER,
        outreach_type=OutreachType.RE_ENGAGEMENT,
        priority_score=0.9,
        context_data={"churn_risk": churn_prediction.prediction, "trigger": "high_churn_risk_detected"},
        now=NOW,
    )

    (outreach,) = planned()
    assert result.outreach == outreach
    assert (outreach.priority, outreach.trigger) == (0.9, "high_churn_risk_detected")
    assert NOW <= outreach.due_at <= NOW + timedelta(days=1)
    assert (outreach.campaign, outreach.period) == ("re_engagement", "2026-W47")


def test_usage_example_2_custom_outreach(outreach_service: ProactiveOutreachService) -> None:
    celebration = outreach_service.create_milestone_celebration(
        user_id=USER,
        milestone_id="super_communicator",
        achievement_data={
            "name": "Super Communicator",
            "description": "Reached 100 interactions!",
            "points_earned": 100,
        },
        now=NOW,
    )
    follow_up = outreach_service.create_topic_follow_up(
        user_id=USER, topic="machine learning", last_mention_days=3, relevance_score=0.8, now=NOW
    )

    assert celebration.outreach
    assert follow_up.outreach
    found = {outreach.outreach_type: outreach for outreach in planned()}
    assert found.keys() == {OutreachType.MILESTONE_CELEBRATION, OutreachType.TOPIC_FOLLOW_UP}
    texts = {
        kind: Texts().render(outreach.template, "Ada", "en", **outreach.values) for kind, outreach in found.items()
    }
    assert "Super Communicator" in texts[OutreachType.MILESTONE_CELEBRATION]
    assert "machine learning" in texts[OutreachType.TOPIC_FOLLOW_UP]
    assert found[OutreachType.TOPIC_FOLLOW_UP].priority == 0.8


def test_a_topic_is_one_of_ours_and_never_a_private_one(outreach_service: ProactiveOutreachService) -> None:
    """A user's own words are repeated to nobody."""
    assert outreach_service.create_topic_follow_up(USER, "health", 5, 0.9, now=NOW).reason is Reason.PRIVATE_TOPIC
    assert outreach_service.create_topic_follow_up(USER, "travel", 0, 0.9, now=NOW).reason is (
        Reason.NOT_NEEDED_ANY_MORE
    )
    with pytest.raises(ValueError, match="no such topic"):
        outreach_service.create_topic_follow_up(USER, "my secret plan", 5, 0.9, now=NOW)
    with pytest.raises(ValueError, match="0 to 1"):
        outreach_service.create_topic_follow_up(USER, "travel", 5, 1.1, now=NOW)
    assert planned() == []


def test_a_re_engagement_campaign_is_the_first_step_of_the_schedules_win_back(
    outreach_service: ProactiveOutreachService,
) -> None:
    """R37, R42: named like the schedule's, so that nobody is asked back twice; whoever is unknown is said to be."""
    analyzer = EngagementAnalyzer(Patterns(), Scores(), Profiles())
    analyzer.update_user_behavior_patterns([says("good morning", day, 20 + day) for day in range(1, 9)])

    results = outreach_service.create_re_engagement_campaign([USER, 999, USER], now=NOW)

    assert {user: result.reason for user, result in results.items()} == {USER: None, 999: Reason.NO_PROFILE}
    assert [(o.campaign, o.period) for o in planned()] == [("silence", f"{NOW - timedelta(days=21):%Y-%m-%d}-1")]
    again = outreach_service.create_re_engagement_campaign([USER], now=NOW + timedelta(days=1))
    assert again[USER].reason is Reason.ALREADY_PLANNED


def test_a_response_is_tracked_once_and_only_after_the_message(outreach_service: ProactiveOutreachService) -> None:
    result = outreach_service.create_mood_support_outreach(USER, -0.6, "negative", now=NOW)
    outreach = result.outreach
    assert outreach
    ledger = Outreaches()
    later = NOW + timedelta(hours=2)

    assert not outreach_service.track_outreach_response(USER, outreach.campaign, outreach.period, at=later)
    expose_now(ledger, outreach)
    assert outreach_service.track_outreach_response(USER, outreach.campaign, outreach.period, at=later)
    assert not outreach_service.track_outreach_response(USER, outreach.campaign, outreach.period, at=later)
    assert not outreach_service.track_outreach_response(999, outreach.campaign, outreach.period, at=later)
    (kept,) = planned()
    assert (kept.state, kept.returned_at) == ("responded", later)


def expose_now(ledger: Outreaches, outreach: Outreach) -> None:
    """Take an outreach through the ledger as the sender does."""
    claimed = ledger.claim(outreach.key, owner="me", now=NOW, lease_until=NOW + timedelta(minutes=5))
    profile = Profiles().get(BOT, USER)
    assert claimed
    assert profile
    exposed = expose(claimed, profile, NOW)
    ledger.commit(exposed, owner="me", charge=charge(profile, policy(), NOW), policy=policy(), now=NOW)
    assert ledger.record_sent(exposed, owner="me", message_id=1, at=NOW)


def test_who_may_not_be_written_to_is_not_planned_for_and_the_answer_says_why(
    outreach_service: ProactiveOutreachService,
) -> None:
    """R42: every method goes through the same gate."""
    Profiles().opt_out(BOT, USER, NOW)

    for result in (
        outreach_service.schedule_proactive_outreach(USER, OutreachType.PERSONALIZED_CHECKIN, now=NOW),
        outreach_service.create_mood_support_outreach(USER, -0.6, "negative", now=NOW),
        outreach_service.create_milestone_celebration(USER, 7, {"name": "Seven"}, now=NOW),
        outreach_service.create_topic_follow_up(USER, "travel", 3, 0.8, now=NOW),
    ):
        assert (result.outreach, result.reason) == (None, Reason.OPTED_OUT)
        assert result.words == "not planned: they asked not to be written to"
    assert outreach_service.schedule_proactive_outreach(999, OutreachType.PERSONALIZED_CHECKIN, now=NOW).reason is (
        Reason.NO_PROFILE
    )
    assert planned() == []


def test_a_member_of_the_control_group_is_recorded_and_the_answer_says_so(
    service: Callable[..., ProactiveOutreachService],
) -> None:
    """R43."""
    everybody = replace(policy().experiment, control=1.0)

    result = service(experiment=everybody).create_mood_support_outreach(USER, -0.6, "negative", now=NOW)

    assert [outreach.arm for outreach in planned()] == [Arm.HELD_OUT]
    assert result.words.startswith("recorded for 2026-11-22 12:00 UTC and not sent: they belong to a control group")


@pytest.mark.parametrize(
    "wrong",
    [
        {"priority_score": 1.5},
        {"context_data": {"trigger": "said: I am sad"}},
        {"context_data": {"campaign": "a#b"}},
        {"outreach_type": OutreachType.MILESTONE_CELEBRATION},
    ],
)
def test_what_cannot_be_kept_is_refused(outreach_service: ProactiveOutreachService, wrong: dict[str, Any]) -> None:
    arguments = {"user_id": USER, "outreach_type": OutreachType.RE_ENGAGEMENT, "now": NOW} | wrong
    with pytest.raises(ValueError, match=r"priority|codes|context_data"):
        outreach_service.schedule_proactive_outreach(**arguments)
    assert planned() == []


def test_usage_example_4_analytics(outreach_service: ProactiveOutreachService) -> None:
    """Of one message that was sent and answered."""
    outreach = outreach_service.create_mood_support_outreach(USER, -0.6, "negative", now=NOW).outreach
    assert outreach
    expose_now(Outreaches(), outreach)
    outreach_service.track_outreach_response(USER, outreach.campaign, outreach.period, at=NOW + timedelta(hours=1))

    analytics = outreach_service.get_outreach_analytics(days=30, now=NOW)

    assert f"Response rate: {analytics['overall_metrics']['response_rate']:.1f}%" == "Response rate: 100.0%"
    assert analytics["period_days"] == 30


def test_a_service_that_only_delivers_says_what_it_lacks(table: str) -> None:
    service = ProactiveOutreachService(Outreaches())

    with pytest.raises(TypeError, match="desk"):
        service.create_mood_support_outreach(USER, -0.6, "negative", now=NOW)
    with pytest.raises(TypeError, match="analytics"):
        service.get_outreach_analytics(now=NOW)
