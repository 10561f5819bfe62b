"""The send ledger's moves, each a conditional write, on the local AWS's DynamoDB."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from engagement.domain import gate
from engagement.domain.interaction import Interaction, SentimentType
from engagement.domain.outcomes import Outcomes, awaiting_of, expose, outcomes_of
from engagement.domain.outreach import MOVES, Arm, Commit, Outreach, OutreachKey, OutreachState, OutreachType
from engagement.domain.pattern import EMPTY, fold
from engagement.domain.pattern_bytes import encode
from engagement.domain.profile import Awaiting, Consent, ConsentPolicy
from engagement.domain.statistics import planned_on
from engagement.errors import StoreUnavailableError
from engagement.store import keys
from engagement.store.outreaches import TRIES, Outreaches
from engagement.store.table import OutreachItem, PatternItem, ProfileItem, connection
from tests import builders

ME, OTHER = "me", "other"
MINUTE = timedelta(minutes=1)
LEASE = timedelta(minutes=5)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
S = OutreachState
CONFLICT = {"Error": {"Code": "TransactionConflictException", "Message": ""}}

Exposed = Callable[..., tuple[Outreach, gate.Charge]]
Obstructed = Callable[[str, dict[str, Any], int], list[str]]


def cancelled(*codes: str) -> dict[str, Any]:
    """Return the error of a transaction that was cancelled for these reasons."""
    return {
        "Error": {"Code": "TransactionCanceledException", "Message": ""},
        "CancellationReasons": [{"Code": code} for code in codes],
    }


@pytest.fixture
def claimed(bot: Any) -> Exposed:
    """Plan and claim a message to a user; returns it as a commit takes it."""

    def claim(user_id: int, campaign: str = "re_engagement", **changes: Any) -> tuple[Outreach, gate.Charge]:
        key = bot.plan(user_id, campaign, **changes)
        outreach = bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
        assert outreach is not None
        profile = bot.profile(user_id)
        return expose(outreach, profile, bot.now), gate.charge(profile, bot.policy, bot.now)

    return claim


@pytest.fixture
def committed(bot: Any, claimed: Exposed) -> Exposed:
    """Plan, claim and commit a message to a user."""

    def commit(user_id: int, campaign: str = "re_engagement", **changes: Any) -> tuple[Outreach, gate.Charge]:
        outreach, charge = claimed(user_id, campaign, **changes)
        answer = bot.outreaches.commit(outreach, owner=ME, charge=charge, policy=bot.policy, now=bot.now)
        assert answer is Commit.COMMITTED
        return outreach, charge

    return commit


@pytest.fixture
def held_out(bot: Any, claimed: Exposed) -> Exposed:
    """Plan, claim and hold out a message."""

    def hold(user_id: int, campaign: str = "re_engagement", **changes: Any) -> tuple[Outreach, gate.Charge]:
        outreach, charge = claimed(user_id, campaign, arm=Arm.HELD_OUT, **changes)
        answer = bot.outreaches.hold_out(outreach, owner=ME, charge=charge, policy=bot.policy, now=bot.now)
        assert answer is Commit.COMMITTED
        return outreach, charge

    return hold


@pytest.fixture
def obstructed(bot: Any, monkeypatch: pytest.MonkeyPatch) -> Obstructed:
    """Let the next `times` calls of an operation fail as DynamoDB does; returns the list of those made."""
    bot.outreaches = Outreaches(sleep=bot.clock.sleep)

    def obstruct(operation: str, error: dict[str, Any], times: int) -> list[str]:
        made: list[str] = []
        client = connection().client
        real = client._make_api_call

        def call(name: str, arguments: dict[str, Any]) -> Any:
            if name == operation:
                made.append(name)
                if len(made) <= times:
                    raise ClientError(error, name)
            return real(name, arguments)

        monkeypatch.setattr(client, "_make_api_call", call)
        return made

    return obstruct


# --- plan, due, claim ---


def test_planned_twice_at_once_is_one_outreach(bot: Any) -> None:
    """R37: eight planners, the same user, campaign and period."""
    outreach = bot.outreach(1)
    answers = []
    gun = threading.Barrier(8)

    def plan(priority: float) -> None:
        gun.wait()
        answers.append(bot.outreaches.plan(replace(outreach, priority=priority)))

    threads = [threading.Thread(target=plan, args=(n / 8,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 7 + [True]
    assert bot.due(MINUTE) == {outreach.key}


def test_an_outreach_reads_back_as_it_was_planned(bot: Any) -> None:
    outreach = bot.outreach(
        1,
        arm=Arm.HELD_OUT,
        treated_probability=0.72,
        experiment="spring",
        program_probability=0.9,
        in_control=True,
        measured_by_type=True,
        template_probability=0.5,
        values={"topic": "Gärten & Blumen", "feature": "/plan"},
        covariate=0.3125,
        context=bytes(range(40)),
    )
    plain = bot.outreach(1, "plain")
    assert bot.outreaches.plan(outreach)
    assert bot.outreaches.plan(plain)
    assert bot.outreaches.get(outreach.key) == outreach
    assert bot.outreaches.of_user(bot.bot_id, 1) == [plain, outreach]
    assert bot.outreaches.of_user(bot.bot_id, 2) == []
    assert bot.outreaches.get(outreach.key._replace(period="2026-W48")) is None


def test_the_index_names_what_is_due_and_only_while_it_is(bot: Any, committed: Exposed) -> None:
    bot.user(1)
    key = bot.plan(1, "another")
    assert bot.due(-MINUTE) == set()
    assert bot.due(timedelta()) == {key}
    # While it is claimed or being sent the index waits for the lease's end.
    bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
    assert bot.due(LEASE - MINUTE) == set()
    assert bot.due(LEASE) == {key}
    bot.outreaches.cancel(bot.stored(key), owner=ME, reason="test")
    assert bot.raw(key).due_shard is None, "what ended without anybody being exposed is in no index"
    sending, _ = committed(1)
    assert bot.due(LEASE - MINUTE) == set()
    assert bot.due(LEASE) == {sending.key}
    # What was sent is not due any more, and settled in 8 days.
    bot.outreaches.record_sent(sending, owner=ME, message_id=7, at=bot.now)
    assert bot.due(timedelta(days=400)) == set()
    assert bot.to_settle(8 * DAY - MINUTE) == set()
    assert bot.to_settle(8 * DAY) == {sending.key}
    item = bot.raw(sending.key)
    assert (item.state, item.message_id, item.lease_until) == (S.SENT, 7, None)


def test_due_gives_the_longest_due_first_and_no_more_than_asked(bot: Any) -> None:
    for hours in (3, 1, 2):
        bot.plan(1, f"c{hours}", due_at=bot.now - timedelta(hours=hours))
    (found,) = [due for partition in range(16) if (due := bot.outreaches.due(partition, bot.now, 2))]
    assert [key.campaign for key in found] == ["c3", "c2"]


@pytest.mark.parametrize(("due", "expires"), [(MINUTE, LEASE), (-MINUTE, timedelta()), (-LEASE, -MINUTE)])
def test_what_is_not_due_or_has_expired_cannot_be_claimed(bot: Any, due: timedelta, expires: timedelta) -> None:
    """R41: an expired outreach has no way to Telegram."""
    key = bot.plan(1, due_at=bot.now + due, expires_at=bot.now + expires)
    assert bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE) is None
    assert bot.state(key) is S.SCHEDULED


def test_of_two_claims_one_wins(bot: Any) -> None:
    key = bot.plan(1)
    mine, theirs = (bot.outreaches.claim(key, owner=o, now=bot.now, lease_until=bot.now + LEASE) for o in (ME, OTHER))
    assert mine.state is S.CLAIMED
    assert theirs is None
    assert bot.raw(key).owner == ME


# --- commit ---


def test_a_commit_counts_the_message_and_marks_it_as_being_sent(bot: Any, committed: Exposed) -> None:
    bot.user(1, zone="Asia/Tokyo")
    outreach, _ = committed(1)
    key, profile = outreach.key, bot.profile(1)
    assert (profile.cap_day, profile.cap_count) == ("2026-11-22", 1)
    assert profile.next_ok_at == bot.now + timedelta(hours=12)
    assert bot.stored(key).state is S.SENDING
    assert bot.stored(key).attempts == 1


def test_a_new_day_counts_from_one_and_the_same_day_counts_on(bot: Any, committed: Exposed) -> None:
    bot.policy = replace(bot.policy, max_per_day=2, min_gap=timedelta())
    bot.user(1, cap_day="2026-11-21", cap_count=2)
    committed(1, "first")
    assert (bot.profile(1).cap_day, bot.profile(1).cap_count) == ("2026-11-22", 1)
    committed(1, "second")
    assert (bot.profile(1).cap_day, bot.profile(1).cap_count) == ("2026-11-22", 2)


PROFILE_CHANGES: dict[str, tuple[ConsentPolicy, dict[str, Any] | None]] = {
    "stopped": (ConsentPolicy.ASK, {"opted_out": True}),
    "stopped, consent assumed": (ConsentPolicy.ASSUME, {"opted_out": True}),
    "blocked": (ConsentPolicy.ASK, {"blocked": True}),
    "never asked": (ConsentPolicy.ASK, {"consent": Consent.UNASKED.value}),
    "declined": (ConsentPolicy.ASK, {"consent": Consent.DECLINED.value}),
    "declined, consent assumed": (ConsentPolicy.ASSUME, {"consent": Consent.DECLINED.value}),
    "moved to another zone": (ConsentPolicy.ASK, {"zone": "Asia/Tokyo"}),
    "cap used up": (ConsentPolicy.ASK, {"cap_day": "2026-11-22", "cap_count": 1}),
    "counted on a later day": (ConsentPolicy.ASK, {"cap_day": "2026-11-23", "cap_count": 0}),
    "written to a moment ago": (ConsentPolicy.ASK, {"next_ok_at": timedelta(minutes=1)}),
    "said something meanwhile": (ConsentPolicy.ASK, {"word": 1}),
    "met another of its type": (ConsentPolicy.ASK, {"met": {"test:re_engagement"}}),
    "met another": (ConsentPolicy.ASK, {"met": {"test:all"}}),
    "erased": (ConsentPolicy.ASK, None),
}


@pytest.mark.parametrize("change", PROFILE_CHANGES)
@pytest.mark.parametrize("move", ["commit", "hold_out"])
def test_a_profile_that_changed_after_it_was_read_refuses_either_arm(
    bot: Any, claimed: Exposed, change: str, move: str
) -> None:
    """R42, R52: the transaction asks everything again, whatever the gate saw a moment before."""
    consent, changes = PROFILE_CHANGES[change]
    policy = replace(bot.policy, consent=consent)
    bot.user(1)
    outreach, charge = claimed(1, experiment="test")
    key = outreach.key
    if changes is None:
        ProfileItem(keys.user(key.bot_id, 1), keys.PROFILE).delete()
    else:
        bot.user(1, **{k: bot.now + v if isinstance(v, timedelta) else v for k, v in changes.items()})
    expose_it = getattr(bot.outreaches, move)
    assert expose_it(outreach, owner=ME, charge=charge, policy=policy, now=bot.now) is Commit.REFUSED
    assert bot.state(key) is S.CLAIMED
    assert bot.counted() == bot.recounted([1])
    # An erased user is not brought back by the attempt.
    assert (bot.profiles.get(key.bot_id, 1) is None) == (changes is None)


@pytest.mark.parametrize(("owner", "after"), [(OTHER, timedelta()), (ME, LEASE), (ME, LEASE + MINUTE)])
def test_a_lost_claim_commits_nothing(bot: Any, claimed: Exposed, owner: str, after: timedelta) -> None:
    bot.user(1)
    profile = bot.profile(1)
    outreach, charge = claimed(1)
    for move in (bot.outreaches.commit, bot.outreaches.hold_out):
        answer = move(outreach, owner=owner, charge=charge, policy=bot.policy, now=bot.now + after)
        assert answer is Commit.LOST
    assert bot.profile(1) == profile


def test_a_commit_gives_way_to_other_transactions_and_tries_again(
    bot: Any, claimed: Exposed, obstructed: Obstructed
) -> None:
    bot.user(1)
    outreach, charge = claimed(1)
    made = obstructed("TransactWriteItems", cancelled("None", "TransactionConflict"), TRIES - 1)
    answer = bot.outreaches.commit(outreach, owner=ME, charge=charge, policy=bot.policy, now=bot.now)
    assert answer is Commit.COMMITTED
    assert len(made) == TRIES
    assert bot.profile(1).cap_count == 1


def test_a_commit_that_meets_only_conflicts_is_busy(bot: Any, claimed: Exposed, obstructed: Obstructed) -> None:
    bot.user(1)
    outreach, charge = claimed(1)
    made = obstructed("TransactWriteItems", cancelled("TransactionConflict", "None"), 99)
    answer = bot.outreaches.commit(outreach, owner=ME, charge=charge, policy=bot.policy, now=bot.now)
    assert answer is Commit.BUSY
    assert len(made) == TRIES
    assert bot.clock() - 1_000 < 1.3, "the waits in between stay short"
    assert bot.state(outreach.key) is S.CLAIMED


@pytest.mark.parametrize(
    "error",
    [
        cancelled("None", "ThrottlingError"),
        {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": ""}},
        {"Error": {"Code": "InternalServerError", "Message": ""}},
    ],
)
def test_a_commit_that_dynamodb_could_not_decide_says_so(
    bot: Any, claimed: Exposed, obstructed: Obstructed, error: Any
) -> None:
    bot.user(1)
    outreach, charge = claimed(1)
    obstructed("TransactWriteItems", error, 1)
    with pytest.raises(StoreUnavailableError):
        bot.outreaches.commit(outreach, owner=ME, charge=charge, policy=bot.policy, now=bot.now)


# --- exposure ---


@pytest.mark.parametrize("arm", ["committed", "held_out"])
def test_an_exposure_is_awaited_and_is_the_first_of_its_groups(
    bot: Any, arm: str, request: pytest.FixtureRequest
) -> None:
    """The same in both arms: when, awaited, and whether it is the user's first of all and of its type."""
    expose_to = request.getfixturevalue(arm)
    bot.policy = replace(bot.policy, max_per_day=9, min_gap=timedelta())
    bot.user(1)
    own, other = OutreachType.RE_ENGAGEMENT, OutreachType.MOOD_SUPPORT
    firsts = []
    for number, (experiment, kind) in enumerate([("a", own), ("a", own), ("a", other), ("b", other), ("", own)]):
        outreach, _ = expose_to(1, f"c{number}", experiment=experiment, outreach_type=kind)
        stored = bot.stored(outreach.key)
        assert stored.exposed_at == bot.now
        assert stored.first_of == outreach.first_of
        firsts.append(set(stored.first_of))
        assert Awaiting(bot.now, f"c{number}", "2026-W47") in bot.profile(1).awaiting
    # "" is what was planned before there were experiments: nothing is measured of it.
    assert firsts == [{"all", own}, set(), {other}, {"all", other}, set()]
    assert bot.profile(1).met == {"a:all", f"a:{own}", f"a:{other}", "b:all", f"b:{other}"}
    assert len(bot.profile(1).awaiting) == 5


def test_a_held_out_one_costs_the_allowance_and_is_settled_like_one_that_was_sent(bot: Any, held_out: Exposed) -> None:
    bot.user(1)
    outreach, _ = held_out(1)
    profile = bot.profile(1)
    assert (profile.cap_count, profile.next_ok_at) == (1, bot.now + 12 * HOUR)
    stored = bot.stored(outreach.key)
    assert (stored.state, stored.attempts, stored.message_id) == (S.HELD_OUT, 0, None)
    assert bot.due(400 * DAY) == set()
    assert bot.to_settle(8 * DAY) == {outreach.key}
    assert bot.counted()[planned_on(stored), "held_out:re_engagement"] == 1


# --- the budget ---


def test_the_days_messages_are_counted_in_the_commit(bot: Any, claimed: Exposed) -> None:
    """The third of a budget of two is refused and counts nothing; tomorrow's budget is another."""
    bot.policy = replace(bot.policy, budget=2)
    answers = []
    for user in (1, 2, 3):
        bot.user(user)
        outreach, charge = claimed(user)
        answers.append(bot.outreaches.commit(outreach, owner=ME, charge=charge, policy=bot.policy, now=bot.now))
    assert answers == [Commit.COMMITTED, Commit.COMMITTED, Commit.REFUSED]
    assert (bot.profile(3).cap_count, bot.profile(3).awaiting) == (0, ())
    assert bot.budgets.spent(bot.bot_id, "messages", bot.now.date()) == 2
    assert bot.budgets.spent(bot.bot_id, "messages", bot.now.date() + DAY) == 0


def test_held_out_ones_take_nothing_of_the_budget(bot: Any, held_out: Exposed) -> None:
    bot.policy = replace(bot.policy, budget=1)
    for user in (1, 2):
        bot.user(user)
        held_out(user)
    assert bot.budgets.spent(bot.bot_id, "messages", bot.now.date()) == 0


def test_what_is_put_back_gives_its_share_of_the_budget_back(bot: Any, committed: Exposed) -> None:
    bot.policy = replace(bot.policy, budget=1)
    bot.user(1)
    sending, charge = committed(1)
    put_back(bot, sending, charge)
    assert bot.budgets.spent(bot.bot_id, "messages", bot.now.date()) == 0
    committed(1, "another")


def test_however_many_take_at_once_no_more_than_the_limit_is_granted(bot: Any) -> None:
    """Eight threads, fifty wishes each, of which a hundred can be granted."""
    day = bot.now.date()
    gun = threading.Barrier(8)
    granted: list[bool] = []

    def take() -> None:
        gun.wait()
        granted.extend(bot.budgets.take(bot.bot_id, "llm", day, 100) for _ in range(50))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(granted), sum(granted)) == (400, 100)
    assert bot.budgets.spent(bot.bot_id, "llm", day) == 100
    assert not bot.budgets.take(bot.bot_id, "nothing", day, 0)
    assert bot.budgets.take(99, "llm", day, 1), "another bot's is another"


# --- record, put back ---


def put_back(
    bot: Any, outreach: Outreach, charge: gate.Charge, *, owner: str = ME, attempted: bool = True, **changes: Any
) -> bool:
    values = {"due_at": bot.now, "policy": bot.policy} | changes
    done: bool = bot.outreaches.put_back(outreach, owner=owner, charge=charge, attempted=attempted, **values)
    return done


def test_only_the_owner_records(bot: Any, committed: Exposed) -> None:
    bot.user(1)
    sending, charge = committed(1)
    key = sending.key
    assert not bot.outreaches.record_sent(sending, owner=OTHER, message_id=7, at=bot.now)
    assert not bot.outreaches.record_failed(sending, owner=OTHER, reason="rejected")
    assert not bot.outreaches.record_unknown(sending, owner=OTHER, reason="unknown")
    assert not put_back(bot, sending, charge, owner=OTHER)
    assert bot.state(key) is S.SENDING
    assert bot.profile(1).cap_count == 1
    assert bot.outreaches.record_sent(sending, owner=ME, message_id=7, at=bot.now)
    assert not bot.outreaches.record_sent(sending, owner=ME, message_id=8, at=bot.now)
    assert bot.stored(key).message_id == 7


def test_what_was_not_sent_goes_back_with_its_count(bot: Any, committed: Exposed) -> None:
    """R46: the cap and the gap are as if nothing had been tried."""
    bot.user(1, cap_day="2026-11-20", cap_count=1, next_ok_at=bot.now - LEASE)
    before = bot.profile(1)
    sending, charge = committed(1, experiment="a")
    key = sending.key
    assert put_back(bot, sending, charge, due_at=bot.now + MINUTE)
    after = bot.profile(1)
    assert (after.cap_day, after.cap_count) == ("2026-11-22", 0)
    assert after.next_ok_at == before.next_ok_at
    stored = bot.stored(key)
    assert (stored.state, stored.due_at, stored.attempts) == (S.SCHEDULED, bot.now + MINUTE, 1)
    assert bot.due(timedelta()) == set()
    assert bot.due(MINUTE) == {key}
    # As if nobody had been exposed to it,
    assert (stored.exposed_at, stored.first_of, stored.enhanced) == (None, frozenset(), None)
    assert (after.awaiting, after.met) == ((), frozenset())
    assert bot.counted() == bot.recounted([1])
    # and it can be sent after all, and is the first again.
    again = bot.outreaches.claim(key, owner=OTHER, now=bot.now + MINUTE, lease_until=bot.now + LEASE)
    charge = gate.charge(after, bot.policy, bot.now + MINUTE)
    again = expose(again, after, bot.now + MINUTE)
    answer = bot.outreaches.commit(again, owner=OTHER, charge=charge, policy=bot.policy, now=bot.now + MINUTE)
    assert answer is Commit.COMMITTED
    assert bot.stored(key).first_of == {"all", "re_engagement"}
    assert bot.profile(1).awaiting == (Awaiting(bot.now + MINUTE, key.campaign, key.period),)


def test_without_a_message_before_it_a_refund_leaves_no_gap(bot: Any, committed: Exposed) -> None:
    bot.user(1)
    sending, charge = committed(1)
    key = sending.key
    assert put_back(bot, sending, charge, attempted=False)
    assert bot.profile(1).next_ok_at is None
    assert bot.stored(key).attempts == 0, "no request was made"


def test_a_refund_is_not_taken_from_a_later_message(bot: Any, committed: Exposed) -> None:
    """R46: `next_ok_at` is somebody else's by now, so the count stays; what only this one left behind does not."""
    bot.policy = replace(bot.policy, max_per_day=2, min_gap=timedelta())
    bot.user(1)
    sending, charge = committed(1, experiment="a")
    bot.policy = replace(bot.policy, min_gap=HOUR)
    later, _ = committed(1, "later", experiment="a")
    assert put_back(bot, sending, charge)
    assert bot.state(sending.key) is S.SCHEDULED
    profile = bot.profile(1)
    assert (profile.cap_count, profile.next_ok_at) == (2, bot.now + HOUR)
    assert [awaiting.campaign for awaiting in profile.awaiting] == ["later"]
    # Whoever is exposed next is the first one.
    assert (profile.met, later.first_of) == (frozenset(), frozenset())


def test_a_put_back_for_an_erased_user_does_not_bring_them_back(bot: Any, committed: Exposed) -> None:
    bot.user(1)
    sending, charge = committed(1)
    ProfileItem(keys.user(bot.bot_id, 1), keys.PROFILE).delete()
    assert put_back(bot, sending, charge)
    assert bot.state(sending.key) is S.SCHEDULED
    assert bot.profiles.get(bot.bot_id, 1) is None


def test_a_put_back_that_meets_only_conflicts_changes_nothing(
    bot: Any, committed: Exposed, obstructed: Obstructed
) -> None:
    """It stays on its way and is swept as one that may be out: a message too few is better than one too many."""
    bot.user(1)
    sending, charge = committed(1)
    obstructed("TransactWriteItems", cancelled("None", "TransactionConflict"), TRIES)
    assert not put_back(bot, sending, charge)
    assert bot.state(sending.key) is S.SENDING
    assert bot.profile(1).cap_count == 1
    assert bot.outreaches.sweep(sending.key, bot.now + LEASE + MINUTE) is S.UNKNOWN


def test_a_single_write_gives_way_to_a_transaction(bot: Any, obstructed: Obstructed) -> None:
    key = bot.plan(1)
    outreach = bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
    made = obstructed("UpdateItem", CONFLICT, 2)
    assert bot.outreaches.reschedule(outreach, owner=ME, due_at=bot.now)
    assert len(made) == 3
    obstructed("UpdateItem", CONFLICT, 99)
    with pytest.raises(StoreUnavailableError):
        bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)


def test_a_record_gives_way_to_others_who_count(bot: Any, committed: Exposed, obstructed: Obstructed) -> None:
    """Users of a share are counted in one item, so that recording one message may meet the planning of another."""
    bot.user(1)
    sending, _ = committed(1)
    made = obstructed("TransactWriteItems", cancelled("None", "TransactionConflict"), TRIES - 1)
    assert bot.outreaches.record_sent(sending, owner=ME, message_id=7, at=bot.now)
    assert len(made) == TRIES
    assert bot.counted() == bot.recounted([1])
    obstructed("TransactWriteItems", cancelled("None", "TransactionConflict"), 99)
    for write in (bot.outreaches.plan, lambda one: bot.outreaches.record_failed(one, owner=ME, reason="x")):
        with pytest.raises(StoreUnavailableError):
            write(sending)


# --- answers ---

RETURNS = {
    # hours from the exposure to the first return; whether a sent message counts as answered
    "at once": (1 / 3600, True),
    "a day later": (24.0, True),
    "a second more": (24 + 1 / 3600, False),
    "a week later": (167.0, False),
}


@pytest.mark.parametrize("returns", RETURNS)
@pytest.mark.parametrize("state", [S.SENT, S.UNKNOWN, S.FAILED, S.HELD_OUT])
def test_a_return_is_recorded_and_only_what_was_sent_is_answered(
    bot: Any, claimed: Exposed, state: OutreachState, returns: str
) -> None:
    hours, in_time = RETURNS[returns]
    bot.user(1)
    outreach, charge = claimed(1)
    end_as(bot, outreach, charge, state)
    awaiting, at = awaiting_of(outreach), bot.now + hours * HOUR
    assert bot.outreaches.answer(bot.bot_id, 1, awaiting, at)
    assert not bot.outreaches.answer(bot.bot_id, 1, awaiting, at), "told twice"
    stored = bot.stored(outreach.key)
    assert stored.returned_at == at
    assert stored.state is (S.RESPONDED if state is S.SENT and in_time else state)
    assert bot.counted() == bot.recounted([1])


def end_as(bot: Any, outreach: Outreach, charge: gate.Charge, state: OutreachState) -> None:
    move = bot.outreaches.hold_out if state is S.HELD_OUT else bot.outreaches.commit
    assert move(outreach, owner=ME, charge=charge, policy=bot.policy, now=bot.now) is Commit.COMMITTED
    match state:
        case S.SENT:
            assert bot.outreaches.record_sent(outreach, owner=ME, message_id=7, at=bot.now)
        case S.UNKNOWN:
            assert bot.outreaches.record_unknown(outreach, owner=ME, reason="read_timeout")
        case S.FAILED:
            assert bot.outreaches.record_failed(outreach, owner=ME, reason="rejected")


def test_in_whatever_order_returns_are_told_the_earliest_counts(bot: Any, committed: Exposed) -> None:
    bot.user(1)
    outreach, _ = committed(1)
    bot.outreaches.record_sent(outreach, owner=ME, message_id=7, at=bot.now)
    told = [(30, True, S.SENT), (50, False, S.SENT), (3, True, S.RESPONDED), (2, True, S.RESPONDED)]
    for hours, news, state in told:
        assert bot.outreaches.answer(bot.bot_id, 1, awaiting_of(outreach), bot.now + hours * HOUR) is news
        assert bot.state(outreach.key) is state
    assert bot.stored(outreach.key).returned_at == bot.now + 2 * HOUR
    assert bot.counted() == bot.recounted([1])


def test_a_return_that_is_no_answer_to_this_exposure_changes_nothing(bot: Any, committed: Exposed) -> None:
    bot.user(1)
    outreach, charge = committed(1)
    awaiting = awaiting_of(outreach)
    assert not bot.outreaches.answer(bot.bot_id, 1, awaiting, bot.now), "in the second of the exposure"
    assert not bot.outreaches.answer(bot.bot_id, 1, awaiting, bot.now - HOUR)
    assert not bot.outreaches.answer(bot.bot_id, 1, awaiting._replace(campaign="gone"), bot.now + HOUR)
    assert bot.outreaches.answer(bot.bot_id, 1, awaiting, bot.now + MINUTE)
    # It was not sent after all: nobody answered anything.
    assert put_back(bot, outreach, charge)
    assert bot.stored(outreach.key).returned_at is None
    assert not bot.outreaches.answer(bot.bot_id, 1, awaiting, bot.now + HOUR)


def test_an_answer_gives_way_to_a_record(bot: Any, committed: Exposed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is recorded as sent between the answer's look and its write."""
    bot.user(1)
    outreach, _ = committed(1)
    ledger = Outreaches(sleep=bot.clock.sleep)
    read = ledger.get

    def read_and_record(key: OutreachKey) -> Outreach | None:
        found = read(key)
        bot.outreaches.record_sent(outreach, owner=ME, message_id=7, at=bot.now)
        return found

    monkeypatch.setattr(ledger, "get", read_and_record)
    assert ledger.answer(bot.bot_id, 1, awaiting_of(outreach), bot.now + HOUR)
    assert bot.state(outreach.key) is S.RESPONDED
    monkeypatch.setattr(ledger, "_returned", lambda *_: False)
    with pytest.raises(StoreUnavailableError):
        ledger.answer(bot.bot_id, 1, awaiting_of(outreach), bot.now + MINUTE)


# --- settling ---

SUMS = {"all": {"treated_n": 1, "returned": 0}, "re_engagement": {"treated_n": 1}, "empty": {}}


def test_an_exposure_is_settled_once(bot: Any, committed: Exposed) -> None:
    bot.user(1)
    outreach, _ = committed(1, experiment="a")
    bot.outreaches.record_sent(outreach, owner=ME, message_id=7, at=bot.now)
    stored, later = bot.stored(outreach.key), bot.now + 8 * DAY
    outcomes = outcomes_of(stored, EMPTY, bot.profile(1))
    assert bot.outreaches.settle(stored, outcomes, SUMS, later)
    assert not bot.outreaches.settle(stored, outcomes, SUMS, later)
    assert bot.stored(outreach.key).settled_at == later
    assert Outcomes.from_json(bot.raw(outreach.key).outcomes_json) == outcomes
    assert bot.profile(1).awaiting == ()
    assert bot.profile(1).met == {"a:all", "a:re_engagement"}, "for good"
    assert bot.to_settle(400 * DAY) == set()
    assert bot.statistics.lift(bot.bot_id, "a") == {
        "all": {"treated_n": 1, "returned": 0},
        "re_engagement": {"treated_n": 1},
    }
    assert not bot.outreaches.answer(bot.bot_id, 1, awaiting_of(outreach), bot.now + HOUR), "too late to count"


def test_a_return_that_comes_in_while_it_is_settled_is_not_lost(bot: Any, committed: Exposed) -> None:
    bot.user(1)
    outreach, _ = committed(1, experiment="a")
    bot.outreaches.record_sent(outreach, owner=ME, message_id=7, at=bot.now)
    stale, later = bot.stored(outreach.key), bot.now + 8 * DAY
    assert bot.outreaches.answer(bot.bot_id, 1, awaiting_of(outreach), bot.now + 2 * DAY)
    assert not bot.outreaches.settle(stale, outcomes_of(stale, EMPTY, None), SUMS, later)
    assert bot.statistics.lift(bot.bot_id, "a") == {}
    assert bot.settle(8 * DAY) == {"settled": 1, "delivered": 1, "responded": 0}
    assert Outcomes.from_json(bot.raw(outreach.key).outcomes_json).returned_7d


def test_an_answer_that_came_before_the_record_is_found_when_it_is_settled(bot: Any, committed: Exposed) -> None:
    bot.user(1)
    outreach, _ = committed(1)
    assert bot.outreaches.answer(bot.bot_id, 1, awaiting_of(outreach), bot.now + timedelta(seconds=1))
    bot.outreaches.record_sent(outreach, owner=ME, message_id=7, at=bot.now)
    assert bot.state(outreach.key) is S.SENT
    assert bot.settle(8 * DAY) == {"settled": 1, "delivered": 1, "responded": 1}
    assert bot.state(outreach.key) is S.RESPONDED
    assert bot.counted() == bot.recounted([1])


def test_the_outcomes_of_an_erased_user_are_settled_without_bringing_them_back(bot: Any, committed: Exposed) -> None:
    bot.user(1)
    outreach, _ = committed(1)
    bot.outreaches.record_unknown(outreach, owner=ME, reason="read_timeout")
    ProfileItem(keys.user(bot.bot_id, 1), keys.PROFILE).delete()
    assert bot.settle(8 * DAY)["settled"] == 1
    assert bot.profiles.get(bot.bot_id, 1) is None
    assert bot.settle(9 * DAY) == {}


def test_settling_takes_the_mood_from_the_pattern_and_ends_in_time(bot: Any, committed: Exposed) -> None:
    for user in (1, 2):
        bot.user(user)
        outreach, _ = committed(user)
        bot.outreaches.record_sent(outreach, owner=ME, message_id=7, at=bot.now)
    state = encode(fold(EMPTY, [spoke(1, 0, -0.9), spoke(2, 1, 0.2), spoke(3, 7, 0.6), spoke(4, 8, -0.9)]))
    PatternItem(keys.user(bot.bot_id, 1), keys.PATTERN, state=state, version=1).save()
    PatternItem(keys.user(bot.bot_id, 2), keys.PATTERN, state=b"\xff damaged", version=1).save()
    bot.remaining = 4.9
    assert bot.settle(8 * DAY) == {}
    bot.remaining = 5.0
    assert bot.settle(8 * DAY)["settled"] == 2
    moods = [
        Outcomes.from_json(bot.raw(OutreachKey(bot.bot_id, user, "re_engagement", "2026-W47")).outcomes_json).mood_after
        for user in (1, 2)
    ]
    assert moods == [pytest.approx(0.4), None]


def spoke(number: int, days: int, sentiment: float) -> Interaction:
    at = builders.NOW + days * DAY
    return builders.interaction(number, at, sentiment=sentiment, sentiment_type=SentimentType.NEUTRAL)


# --- sweep ---


def test_the_sweeper_frees_a_dead_claim(bot: Any) -> None:
    key = bot.plan(1)
    bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
    assert bot.outreaches.sweep(key, bot.now + LEASE) is None, "the lease still holds in its last second"
    assert bot.outreaches.sweep(key, bot.now + LEASE + MINUTE) is S.SCHEDULED
    assert bot.stored(key).due_at == bot.now
    assert bot.raw(key).owner is None
    assert bot.due(timedelta()) == {key}


def test_the_sweeper_never_frees_what_may_be_out(bot: Any, committed: Exposed) -> None:
    """R45: died while sending: unknown for ever, and the count stays."""
    bot.user(1)
    sending, charge = committed(1)
    key = sending.key
    assert bot.outreaches.sweep(key, bot.now + MINUTE) is None
    assert bot.outreaches.sweep(key, bot.now + LEASE + MINUTE) is S.UNKNOWN
    assert bot.profile(1).cap_count == 1
    assert bot.stored(key).reason == "sender_died"
    # Not even its late owner can move it any more.
    assert not bot.outreaches.record_sent(sending, owner=ME, message_id=7, at=bot.now)
    assert not put_back(bot, sending, charge)
    assert bot.state(key) is S.UNKNOWN


def test_the_sweeper_expires_what_was_not_sent_in_time(bot: Any) -> None:
    """R41: the whole backlog of an outage, and nothing else."""
    late = [bot.plan(user, expires_at=bot.now + timedelta(hours=20)) for user in range(1, 30)]
    fresh = bot.plan(30, expires_at=bot.now + timedelta(hours=48))
    assert bot.sweep(timedelta(hours=24)) == {S.EXPIRED: 29}
    assert {bot.state(key) for key in late} == {S.EXPIRED}
    assert bot.state(fresh) is S.SCHEDULED
    assert bot.sweep(timedelta(hours=24)) == {}


def test_a_sweep_ends_in_time(bot: Any) -> None:
    bot.plan(1, expires_at=bot.now + MINUTE)
    bot.remaining = 4.9
    assert bot.sweep(LEASE) == {}
    bot.remaining = 5.0
    assert bot.sweep(LEASE) == {S.EXPIRED: 1}


def test_a_stale_row_of_the_index_settles_nothing(bot: Any) -> None:
    key = bot.plan(1)
    assert bot.outreaches.sweep(key._replace(campaign="gone"), bot.now) is None
    assert bot.outreaches.sweep(key, bot.now) is None


# --- all moves ---


def test_every_move_is_one_that_the_domain_permits(bot: Any) -> None:
    """Each method is tried on an outreach in each state; what moved is compared with `MOVES`."""
    bot.user(1)
    charge = gate.charge(bot.profile(1), bot.policy, bot.now)
    later = bot.now + LEASE + MINUTE
    ledger = bot.outreaches
    answered = replace(outcomes_of(expose(bot.outreach(1), bot.profile(1), bot.now), EMPTY, None), responded=True)
    counted = {"owner": ME, "charge": charge, "policy": bot.policy, "now": bot.now}
    methods: dict[str, Callable[[Outreach], object]] = {
        "claim": lambda o: ledger.claim(o.key, owner=ME, now=bot.now, lease_until=later),
        "commit": lambda o: ledger.commit(o, **counted),
        "hold_out": lambda o: ledger.hold_out(o, **counted),
        "record_sent": lambda o: ledger.record_sent(o, owner=ME, message_id=7, at=bot.now),
        "record_failed": lambda o: ledger.record_failed(o, owner=ME, reason="rejected"),
        "record_unknown": lambda o: ledger.record_unknown(o, owner=ME, reason="unknown"),
        "put_back": lambda o: put_back(bot, o, charge),
        "reschedule": lambda o: ledger.reschedule(o, owner=ME, due_at=bot.now),
        "suppress": lambda o: ledger.suppress(o, owner=ME, reason="opted_out"),
        "cancel": lambda o: ledger.cancel(o, owner=ME, reason="not_needed_any_more"),
        "expire": lambda o: ledger.expire(o, owner=ME, reason="expired"),
        "fail": lambda o: ledger.fail(o, owner=ME, reason="no_template"),
        "sweep after the lease": lambda o: ledger.sweep(o.key, later),
        "sweep after expiry": lambda o: ledger.sweep(o.key, bot.now + timedelta(days=3)),
        "plan": lambda o: ledger.plan(bot.outreach(1, o.campaign)),
        "answer": lambda o: ledger.answer(bot.bot_id, 1, awaiting_of(o), bot.now + MINUTE),
        "settle": lambda o: ledger.settle(replace(o, state=bot.state(o.key)), answered, {}, bot.now),
    }
    seen = set()
    for state in S:
        for number, method in enumerate(methods.values()):
            bot.user(1)
            key = bot.plan(1, f"{state}-{number}")
            outreach = expose(bot.stored(key), bot.profile(1), bot.now)
            changes = [OutreachItem.state.set(state), OutreachItem.owner.set(ME)]
            if state not in {S.SCHEDULED, S.CLAIMED}:
                changes.append(OutreachItem.exposed_at.set(bot.now))
            bot.raw(key).update([*changes, OutreachItem.lease_until.set(bot.now + LEASE)])
            method(outreach)
            if bot.state(key) is not state:
                seen.add((state, bot.state(key)))
    permitted = {(source, target) for source, targets in MOVES.items() for target in targets}
    assert seen <= permitted
    # Cancelling what is still waiting is not the sender's.
    assert permitted - seen == {(S.SCHEDULED, S.CANCELLED)}


# --- the pause and the lease ---


def test_the_longest_pause_wins(bot: Any) -> None:
    assert bot.pauses.until(1) is None
    assert bot.pauses.extend(1, bot.now + LEASE)
    assert not bot.pauses.extend(1, bot.now + MINUTE)
    assert bot.pauses.until(1) == bot.now + LEASE
    assert bot.pauses.extend(1, bot.now + 2 * LEASE)
    assert bot.pauses.until(1) == bot.now + 2 * LEASE
    assert bot.pauses.until(2) is None


def test_a_lease_is_one_owners_until_it_ends_or_is_given_back(bot: Any) -> None:
    def acquire(owner: str, after: timedelta = timedelta()) -> bool:
        now = bot.now + after
        taken: bool = bot.leases.acquire(1, "outreach_sender", owner=owner, now=now, until=now + LEASE)
        return taken

    assert acquire(ME)
    assert not acquire(OTHER)
    assert acquire(ME, MINUTE), "its owner may extend it"
    bot.leases.release(1, "outreach_sender", owner=OTHER)
    assert not acquire(OTHER, LEASE)
    bot.leases.release(1, "outreach_sender", owner=ME)
    assert acquire(OTHER)
    assert acquire(ME, LEASE + MINUTE)
    assert bot.leases.acquire(1, "scorer", owner=OTHER, now=bot.now, until=bot.now + LEASE)
