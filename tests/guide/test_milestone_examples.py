"""The guide's milestone examples (Step 2, analytics, custom milestones), run here.

What differs from the guide: methods are called, not awaited; a seeder is given its bot and its stores; the moment is an
argument (`now`); a custom milestone is put into force by `add` rather than by a database session.
"""

from datetime import UTC, datetime, timedelta

from engagement.domain.milestones import Milestone as EngagementMilestone
from engagement.domain.milestones import newly_reached, progress
from engagement.services.milestones import MilestoneSeeder
from engagement.store.milestones import Milestones
from engagement.store.statistics import Statistics
from tests.builders import pattern_of

BOT = 123456
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def seeder_of(bot_id: int) -> MilestoneSeeder:
    return MilestoneSeeder(bot_id, Milestones(bot_id), Statistics())


def test_step_2_seed_default_milestones(table: str) -> None:
    seed_default_milestones = seeder_of(BOT).seed_default_milestones

    # Seed the database with default milestones
    results = seed_default_milestones(now=NOW)
    assert f"Created {results['milestones_created']} milestones" == "Created 20 milestones"

    assert set(results) == {"milestones_created", "milestones_updated", "milestones_skipped", "total_milestones"}
    assert results["total_milestones"] >= 18


def test_analytics_milestone_statistics(table: str) -> None:
    seeder = seeder_of(BOT)
    seeder.seed_default_milestones(now=NOW)

    # Get milestone statistics
    stats = seeder.get_milestone_stats(now=NOW)
    assert f"Active milestones: {stats['active_milestones']}" == "Active milestones: 20"


def test_custom_milestone_creation(table: str) -> None:
    # Create custom milestone
    custom_milestone = EngagementMilestone(
        milestone_name="power_user_week",
        display_name="Power User Week",
        description="Use the bot every day for a week",
        metric_name="consecutive_active_days",
        target_value=7.0,
        metric_type="streak",
        category="engagement",
        difficulty_level=3,
    )

    seeder_of(BOT).add(custom_milestone, now=NOW)
    (in_force,) = Milestones(BOT).all()
    assert (in_force.milestone_name, in_force.custom, in_force.seeded_at) == ("power_user_week", True, NOW)
    six_days = pattern_of(NOW - timedelta(days=day) for day in range(6))
    assert progress(in_force, six_days, UTC, NOW).bar() == "▰▰▰▰▰▰▰▰▱▱ 6 / 7"
    week = pattern_of(NOW - timedelta(days=day) for day in range(7))
    assert newly_reached([in_force], (), week, UTC) == [in_force]
