"""The send ledger's moves, each a conditional write, on the local AWS's DynamoDB."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from engagement.domain import gate
from engagement.domain.outreach import MOVES, Commit, OutreachKey, OutreachState
from engagement.domain.profile import Consent, ConsentPolicy
from engagement.errors import StoreUnavailableError
from engagement.store import keys
from engagement.store.outreaches import TRIES, Outreaches
from engagement.store.table import OutreachItem, ProfileItem, connection

ME, OTHER = "me", "other"
MINUTE = timedelta(minutes=1)
LEASE = timedelta(minutes=5)
S = OutreachState
CONFLICT = {"Error": {"Code": "TransactionConflictException", "Message": ""}}

Committed = Callable[..., tuple[OutreachKey, gate.Charge]]
Obstructed = Callable[[str, dict[str, Any], int], list[str]]


def cancelled(*codes: str) -> dict[str, Any]:
    """Return the error of a transaction that was cancelled for these reasons."""
    return {
        "Error": {"Code": "TransactionCanceledException", "Message": ""},
        "CancellationReasons": [{"Code": code} for code in codes],
    }


@pytest.fixture
def committed(bot: Any) -> Committed:
    """Plan, claim and commit a message to a user."""

    def commit(user_id: int, campaign: str = "re_engagement") -> tuple[OutreachKey, gate.Charge]:
        key = bot.plan(user_id, campaign)
        assert bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
        charge = gate.charge(bot.profile(user_id), bot.policy, bot.now)
        answer = bot.outreaches.commit(key, owner=ME, charge=charge, policy=bot.policy, now=bot.now)
        assert answer is Commit.COMMITTED
        return key, charge

    return commit


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
    outreach = bot.outreach(1)
    bot.outreaches.plan(outreach)
    assert bot.outreaches.get(outreach.key) == outreach
    assert bot.outreaches.get(outreach.key._replace(period="2026-W48")) is None


def test_the_index_names_what_is_due_and_only_while_it_is(bot: Any, committed: Committed) -> None:
    bot.user(1)
    key = bot.plan(1, "another")
    assert bot.due(-MINUTE) == set()
    assert bot.due(timedelta()) == {key}
    # While it is claimed or being sent the index waits for the lease's end.
    bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
    assert bot.due(LEASE - MINUTE) == set()
    assert bot.due(LEASE) == {key}
    bot.outreaches.cancel(key, owner=ME, reason="test")
    key, _ = committed(1)
    assert bot.due(LEASE - MINUTE) == set()
    assert bot.due(LEASE) == {key}
    # What has ended is in no index.
    bot.outreaches.record_sent(key, owner=ME, message_id=7, at=bot.now)
    assert bot.due(timedelta(days=400)) == set()
    item = bot.raw(key)
    assert (item.state, item.message_id, item.due_shard, item.lease_until) == (S.SENT, 7, None, None)


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


def test_a_commit_counts_the_message_and_marks_it_as_being_sent(bot: Any, committed: Committed) -> None:
    bot.user(1, zone="Asia/Tokyo")
    key, _ = committed(1)
    profile = bot.profile(1)
    assert (profile.cap_day, profile.cap_count) == ("2026-11-22", 1)
    assert profile.next_ok_at == bot.now + timedelta(hours=12)
    assert bot.stored(key).state is S.SENDING
    assert bot.stored(key).attempts == 1


def test_a_new_day_counts_from_one_and_the_same_day_counts_on(bot: Any, committed: Committed) -> None:
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
    "erased": (ConsentPolicy.ASK, None),
}


@pytest.mark.parametrize("change", PROFILE_CHANGES)
def test_a_profile_that_changed_after_it_was_read_refuses_the_commit(bot: Any, change: str) -> None:
    """R42, R52: the transaction asks everything again, whatever the gate saw a moment before."""
    consent, changes = PROFILE_CHANGES[change]
    policy = replace(bot.policy, consent=consent)
    key = bot.plan(1)
    bot.user(1)
    profile = bot.profile(1)
    bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
    charge = gate.charge(profile, policy, bot.now)
    if changes is None:
        ProfileItem(keys.user(key.bot_id, 1), keys.PROFILE).delete()
    else:
        bot.user(1, **{k: bot.now + v if isinstance(v, timedelta) else v for k, v in changes.items()})
    assert bot.outreaches.commit(key, owner=ME, charge=charge, policy=policy, now=bot.now) is Commit.REFUSED
    assert bot.state(key) is S.CLAIMED
    # An erased user is not brought back by the attempt.
    assert (bot.profiles.get(key.bot_id, 1) is None) == (changes is None)


@pytest.mark.parametrize(("owner", "after"), [(OTHER, timedelta()), (ME, LEASE), (ME, LEASE + MINUTE)])
def test_a_lost_claim_commits_nothing(bot: Any, owner: str, after: timedelta) -> None:
    bot.user(1)
    profile = bot.profile(1)
    key = bot.plan(1)
    bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
    charge = gate.charge(profile, bot.policy, bot.now)
    answer = bot.outreaches.commit(key, owner=owner, charge=charge, policy=bot.policy, now=bot.now + after)
    assert answer is Commit.LOST
    assert bot.profile(1) == profile


def test_a_commit_gives_way_to_other_transactions_and_tries_again(bot: Any, obstructed: Obstructed) -> None:
    bot.user(1)
    profile = bot.profile(1)
    key = bot.plan(1)
    bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
    made = obstructed("TransactWriteItems", cancelled("None", "TransactionConflict"), TRIES - 1)
    charge = gate.charge(profile, bot.policy, bot.now)
    answer = bot.outreaches.commit(key, owner=ME, charge=charge, policy=bot.policy, now=bot.now)
    assert answer is Commit.COMMITTED
    assert len(made) == TRIES
    assert bot.profile(1).cap_count == 1


def test_a_commit_that_meets_only_conflicts_is_busy(bot: Any, obstructed: Obstructed) -> None:
    bot.user(1)
    profile = bot.profile(1)
    key = bot.plan(1)
    bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
    made = obstructed("TransactWriteItems", cancelled("TransactionConflict", "None"), 99)
    charge = gate.charge(profile, bot.policy, bot.now)
    assert bot.outreaches.commit(key, owner=ME, charge=charge, policy=bot.policy, now=bot.now) is Commit.BUSY
    assert len(made) == TRIES
    assert bot.clock() - 1_000 < 1, "the waits in between stay short"
    assert bot.state(key) is S.CLAIMED


@pytest.mark.parametrize(
    "error",
    [
        cancelled("None", "ThrottlingError"),
        {"Error": {"Code": "ProvisionedThroughputExceededException", "Message": ""}},
        {"Error": {"Code": "InternalServerError", "Message": ""}},
    ],
)
def test_a_commit_that_dynamodb_could_not_decide_says_so(bot: Any, obstructed: Obstructed, error: Any) -> None:
    bot.user(1)
    profile = bot.profile(1)
    key = bot.plan(1)
    bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
    obstructed("TransactWriteItems", error, 1)
    charge = gate.charge(profile, bot.policy, bot.now)
    with pytest.raises(StoreUnavailableError):
        bot.outreaches.commit(key, owner=ME, charge=charge, policy=bot.policy, now=bot.now)


# --- record, put back ---


def test_only_the_owner_records(bot: Any, committed: Committed) -> None:
    bot.user(1)
    key, charge = committed(1)
    assert not bot.outreaches.record_sent(key, owner=OTHER, message_id=7, at=bot.now)
    assert not bot.outreaches.record_failed(key, owner=OTHER, reason="rejected")
    assert not bot.outreaches.record_unknown(key, owner=OTHER, reason="unknown")
    assert not bot.outreaches.put_back(key, owner=OTHER, due_at=bot.now, charge=charge, attempted=True)
    assert bot.state(key) is S.SENDING
    assert bot.profile(1).cap_count == 1
    assert bot.outreaches.record_sent(key, owner=ME, message_id=7, at=bot.now)
    assert not bot.outreaches.record_sent(key, owner=ME, message_id=8, at=bot.now)
    assert bot.stored(key).message_id == 7


def test_what_was_not_sent_goes_back_with_its_count(bot: Any, committed: Committed) -> None:
    """R46: the cap and the gap are as if nothing had been tried."""
    bot.user(1, cap_day="2026-11-20", cap_count=1, next_ok_at=bot.now - LEASE)
    before = bot.profile(1)
    key, charge = committed(1)
    assert bot.outreaches.put_back(key, owner=ME, due_at=bot.now + MINUTE, charge=charge, attempted=True)
    after = bot.profile(1)
    assert (after.cap_day, after.cap_count) == ("2026-11-22", 0)
    assert after.next_ok_at == before.next_ok_at
    stored = bot.stored(key)
    assert (stored.state, stored.due_at, stored.attempts) == (S.SCHEDULED, bot.now + MINUTE, 1)
    assert bot.due(timedelta()) == set()
    assert bot.due(MINUTE) == {key}
    # And it can be sent after all.
    assert bot.outreaches.claim(key, owner=OTHER, now=bot.now + MINUTE, lease_until=bot.now + LEASE)
    charge = gate.charge(after, bot.policy, bot.now + MINUTE)
    answer = bot.outreaches.commit(key, owner=OTHER, charge=charge, policy=bot.policy, now=bot.now + MINUTE)
    assert answer is Commit.COMMITTED


def test_without_a_message_before_it_a_refund_leaves_no_gap(bot: Any, committed: Committed) -> None:
    bot.user(1)
    key, charge = committed(1)
    assert bot.outreaches.put_back(key, owner=ME, due_at=bot.now, charge=charge, attempted=False)
    assert bot.profile(1).next_ok_at is None
    assert bot.stored(key).attempts == 0, "no request was made"


def test_a_refund_is_not_taken_from_a_later_message(bot: Any, committed: Committed) -> None:
    """R46: `next_ok_at` is somebody else's by now, so the count stays."""
    bot.user(1)
    key, charge = committed(1)
    bot.user(1, cap_day="2026-11-22", cap_count=1, next_ok_at=bot.now + timedelta(hours=20))
    assert bot.outreaches.put_back(key, owner=ME, due_at=bot.now, charge=charge, attempted=True)
    assert bot.state(key) is S.SCHEDULED
    assert bot.profile(1).cap_count == 1
    assert bot.profile(1).next_ok_at == bot.now + timedelta(hours=20)


def test_a_put_back_for_an_erased_user_does_not_bring_them_back(bot: Any, committed: Committed) -> None:
    bot.user(1)
    key, charge = committed(1)
    ProfileItem(keys.user(key.bot_id, 1), keys.PROFILE).delete()
    assert bot.outreaches.put_back(key, owner=ME, due_at=bot.now, charge=charge, attempted=True)
    assert bot.profiles.get(key.bot_id, 1) is None


def test_a_put_back_that_meets_only_conflicts_keeps_the_count(
    bot: Any, committed: Committed, obstructed: Obstructed
) -> None:
    bot.user(1)
    key, charge = committed(1)
    obstructed("TransactWriteItems", cancelled("None", "TransactionConflict"), 99)
    assert bot.outreaches.put_back(key, owner=ME, due_at=bot.now, charge=charge, attempted=True)
    assert bot.state(key) is S.SCHEDULED
    assert bot.profile(1).cap_count == 1, "a message too few is better than one too many"


def test_a_single_write_gives_way_to_a_transaction(bot: Any, committed: Committed, obstructed: Obstructed) -> None:
    bot.user(1)
    key, _ = committed(1)
    made = obstructed("UpdateItem", CONFLICT, 2)
    assert bot.outreaches.record_sent(key, owner=ME, message_id=7, at=bot.now)
    assert len(made) == 3
    obstructed("UpdateItem", CONFLICT, 99)
    with pytest.raises(StoreUnavailableError):
        bot.outreaches.record_sent(key, owner=ME, message_id=7, at=bot.now)


# --- sweep ---


def test_the_sweeper_frees_a_dead_claim(bot: Any) -> None:
    key = bot.plan(1)
    bot.outreaches.claim(key, owner=ME, now=bot.now, lease_until=bot.now + LEASE)
    assert bot.outreaches.sweep(key, bot.now + LEASE) is None, "the lease still holds in its last second"
    assert bot.outreaches.sweep(key, bot.now + LEASE + MINUTE) is S.SCHEDULED
    assert bot.stored(key).due_at == bot.now
    assert bot.raw(key).owner is None
    assert bot.due(timedelta()) == {key}


def test_the_sweeper_never_frees_what_may_be_out(bot: Any, committed: Committed) -> None:
    """R45: died while sending: unknown for ever, and the count stays."""
    bot.user(1)
    key, charge = committed(1)
    assert bot.outreaches.sweep(key, bot.now + MINUTE) is None
    assert bot.outreaches.sweep(key, bot.now + LEASE + MINUTE) is S.UNKNOWN
    assert bot.profile(1).cap_count == 1
    assert bot.stored(key).reason == "sender_died"
    # Not even its late owner can move it any more.
    assert not bot.outreaches.record_sent(key, owner=ME, message_id=7, at=bot.now)
    assert not bot.outreaches.put_back(key, owner=ME, due_at=bot.now, charge=charge, attempted=True)
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
    methods: dict[str, Callable[[Outreaches, OutreachKey], object]] = {
        "claim": lambda o, k: o.claim(k, owner=ME, now=bot.now, lease_until=later),
        "commit": lambda o, k: o.commit(k, owner=ME, charge=charge, policy=bot.policy, now=bot.now),
        "record_sent": lambda o, k: o.record_sent(k, owner=ME, message_id=7, at=bot.now),
        "record_failed": lambda o, k: o.record_failed(k, owner=ME, reason="rejected"),
        "record_unknown": lambda o, k: o.record_unknown(k, owner=ME, reason="unknown"),
        "put_back": lambda o, k: o.put_back(k, owner=ME, due_at=bot.now, charge=charge, attempted=True),
        "reschedule": lambda o, k: o.reschedule(k, owner=ME, due_at=bot.now),
        "suppress": lambda o, k: o.suppress(k, owner=ME, reason="opted_out"),
        "cancel": lambda o, k: o.cancel(k, owner=ME, reason="not_needed_any_more"),
        "expire": lambda o, k: o.expire(k, owner=ME, reason="expired"),
        "fail": lambda o, k: o.fail(k, owner=ME, reason="no_template"),
        "sweep after the lease": lambda o, k: o.sweep(k, later),
        "sweep after expiry": lambda o, k: o.sweep(k, bot.now + timedelta(days=3)),
        "plan": lambda o, k: o.plan(bot.outreach(1, k.campaign)),
    }
    seen = set()
    for state in S:
        for number, method in enumerate(methods.values()):
            bot.user(1)
            key = bot.plan(1, f"{state}-{number}")
            changes = [OutreachItem.state.set(state), OutreachItem.owner.set(ME)]
            bot.raw(key).update([*changes, OutreachItem.lease_until.set(bot.now + LEASE)])
            method(bot.outreaches, key)
            if bot.state(key) is not state:
                seen.add((state, bot.state(key)))
    permitted = {(source, target) for source, targets in MOVES.items() for target in targets}
    assert seen <= permitted
    # Cancelling what is still waiting and noticing an answer are not the sender's.
    assert permitted - seen == {(S.SCHEDULED, S.CANCELLED), (S.SENT, S.RESPONDED)}


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
