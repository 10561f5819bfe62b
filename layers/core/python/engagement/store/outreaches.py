"""The send ledger: every move of an outreach is one conditional write, and the last before Telegram also counts it.

    plan     put, if it is not there                       scheduled
    claim    scheduled, due, not expired                   -> claimed, mine until the lease ends
    commit   claimed by me, lease alive                    -> sending    } one
             profile: consent, no stop, no block,                        } transaction
             gap over, cap not used up                     -> counted    }
    record   sending, mine                                 -> sent | failed | unknown
    put back sending, mine, certainly not sent             -> scheduled, and the count is given back if it is still ours
    sweep    claimed, lease over -> scheduled;  sending, lease over -> unknown;  scheduled, expired -> expired

Nothing leaves `sending` for a second attempt without proof that the first was not sent: Telegram has no idempotency
key, so a message that may be out counts as out.

The index `due` names what is to be done next: `due_at` is the due time while scheduled and the lease's end while
claimed or sending, so that the sweeper finds what a dead sender left; what has ended is in no index.
"""

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import islice

from pynamodb.exceptions import DoesNotExist, PutError, TransactWriteError, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from engagement.domain.gate import Charge, Policy
from engagement.domain.outreach import MOVES, Commit, Outreach, OutreachKey, OutreachState, OutreachType
from engagement.domain.profile import Consent, ConsentPolicy
from engagement.store import keys
from engagement.store.due import due_rows
from engagement.store.table import (
    CONDITION_FAILED,
    CONDITION_FAILED_REASON,
    TRANSACTION_CANCELLED,
    OutreachItem,
    ProfileItem,
    connection,
    holds,
    translated,
)

RETENTION = timedelta(days=365)
"""How long an outreach is kept; far longer than the period it keeps from being planned twice."""
TRIES = 4
"""Of a write that another transaction on the same item got in the way of."""
FIRST_PAUSE_SECONDS = 0.02

CONFLICT = "TransactionConflictException"
CONFLICT_REASON = "TransactionConflict"


class Outreaches:
    """The outreach items of the table."""

    partitions = keys.DUE_PARTITIONS

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep

    def plan(self, outreach: Outreach) -> bool:
        """Add a scheduled outreach; False where its campaign and period were planned for this user before.

        Raises:
            StoreUnavailableError: DynamoDB is in trouble (also for every other method).
        """
        pk = keys.user(outreach.bot_id, outreach.user_id)
        item = OutreachItem(
            pk,
            keys.outreach(outreach.campaign, outreach.period),
            due_shard=keys.outreach_shard(keys.due_partition(pk)),
            due_at=outreach.due_at,
            expires_on=outreach.planned_at + RETENTION,
            outreach_type=outreach.outreach_type,
            state=OutreachState.SCHEDULED,
            priority=outreach.priority,
            trigger=outreach.trigger,
            template=outreach.template,
            planned_at=outreach.planned_at,
            send_after=outreach.due_at,
            expires_at=outreach.expires_at,
        )
        with translated():
            try:
                item.save(condition=OutreachItem.pk.does_not_exist())
            except PutError as error:
                if error.cause_response_code != CONDITION_FAILED:
                    raise
                return False
        return True

    def get(self, key: OutreachKey) -> Outreach | None:
        """Read one consistently."""
        item = self._read(key)
        return None if item is None else _outreach_of(key, item)

    def due(self, partition: int, now: datetime, limit: int) -> list[OutreachKey]:
        """Return what is to be sent or swept in a partition [0, 16) of the index, longest due first.

        The index lags a little: every move that follows checks the item itself.
        """
        rows = islice(due_rows(keys.outreach_shard(partition), now, page=limit), limit)
        return [OutreachKey(*keys.user_of(pk), *keys.outreach_of(sk)) for pk, sk in rows]

    def claim(self, key: OutreachKey, *, owner: str, now: datetime, lease_until: datetime) -> Outreach | None:
        """Take one that is due for oneself until `lease_until`; None where it is not to be had."""
        is_due = (OutreachItem.send_after <= now) & (OutreachItem.expires_at > now)
        item = self._move(
            key,
            OutreachState.SCHEDULED,
            OutreachState.CLAIMED,
            condition=is_due,
            actions=[
                OutreachItem.owner.set(owner),
                OutreachItem.lease_until.set(lease_until),
                OutreachItem.due_at.set(lease_until),
            ],
        )
        return None if item is None else _outreach_of(key, item)

    def commit(self, key: OutreachKey, *, owner: str, charge: Charge, policy: Policy, now: datetime) -> Commit:
        """Count the message against the user's allowance and mark it as being sent: the point of no return.

        One transaction: a /stop, a block or another message of the same user comes either before it, and refuses it,
        or after it. A lost answer leaves the outreach to the sweeper; nothing was sent.

        Args:
            key: the outreach, claimed before.
            owner: who claimed it.
            charge: from `gate.charge` for the profile as it was read.
            policy: what the operator allows.
            now: the moment, by the clock that `charge` was made with.
        """
        was_claimed, is_sending = _step(OutreachState.CLAIMED, OutreachState.SENDING)
        is_mine = was_claimed & (OutreachItem.owner == owner) & (OutreachItem.lease_until > now)
        one_more = OutreachItem.attempts.set(OutreachItem.attempts + 1)

        def write(transaction: TransactWrite) -> None:
            transaction.update(_item(key), actions=[is_sending, one_more], condition=is_mine)
            transaction.update(_profile(key), actions=_counted(charge), condition=_allows_message(charge, policy, now))

        failed = self._transact(write)
        if failed is None:
            return Commit.BUSY
        lost, refused = failed
        if lost:
            return Commit.LOST
        return Commit.REFUSED if refused else Commit.COMMITTED

    def record_sent(self, key: OutreachKey, *, owner: str, message_id: int | None, at: datetime) -> bool:
        """Record that Telegram accepted it; False where it is not ours to record any more (so for all `record_*`)."""
        actions: list[Action] = [OutreachItem.sent_at.set(at)]
        if message_id is not None:
            actions.append(OutreachItem.message_id.set(message_id))
        return self._end(key, OutreachState.SENDING, OutreachState.SENT, owner=owner, actions=actions)

    def record_failed(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """Record that it was certainly not sent and never will be."""
        return self._end(key, OutreachState.SENDING, OutreachState.FAILED, owner=owner, reason=reason)

    def record_unknown(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """Record that nobody can tell whether it was sent: it counts as sent, and is never tried again."""
        return self._end(key, OutreachState.SENDING, OutreachState.UNKNOWN, owner=owner, reason=reason)

    def put_back(self, key: OutreachKey, *, owner: str, due_at: datetime, charge: Charge, attempted: bool) -> bool:
        """Schedule again what was committed and certainly not sent, and give the count back if it is still ours.

        Args:
            key: the outreach.
            owner: who committed it.
            due_at: when to try again.
            charge: what the commit counted.
            attempted: False where it does not count as an attempt at this message: no request was made, or Telegram
                refused all alike.
        """
        was_sending, is_scheduled = _step(OutreachState.SENDING, OutreachState.SCHEDULED)
        actions = [is_scheduled, *_due_again(due_at)]
        if not attempted:
            actions.append(OutreachItem.attempts.set(OutreachItem.attempts - 1))
        is_mine = was_sending & (OutreachItem.owner == owner)
        # Nobody else's message can have been counted since, or the next allowed time would be theirs.
        count_is_ours = (
            (ProfileItem.next_ok_at == charge.next_ok_at)
            & (ProfileItem.cap_day == charge.day)
            & (ProfileItem.cap_count > 0)
        )

        def write(transaction: TransactWrite) -> None:
            transaction.update(_item(key), actions=actions, condition=is_mine)
            transaction.update(_profile(key), actions=_given_back(charge), condition=count_is_ours)

        failed = self._transact(write)
        if failed == (False, False):
            return True
        # The count is another message's by now, or the user is gone: only the outreach goes back.
        return self._update(key, is_mine, actions) is not None

    def reschedule(self, key: OutreachKey, *, owner: str, due_at: datetime) -> bool:
        """Give a claim up, to be sent at `due_at`."""
        again = _due_again(due_at)
        return self._move(key, OutreachState.CLAIMED, OutreachState.SCHEDULED, owner=owner, actions=again) is not None

    def suppress(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """End a claimed one that the gate refused."""
        return self._end(key, OutreachState.CLAIMED, OutreachState.SUPPRESSED, owner=owner, reason=reason)

    def cancel(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """End a claimed one that has no point any more."""
        return self._end(key, OutreachState.CLAIMED, OutreachState.CANCELLED, owner=owner, reason=reason)

    def expire(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """End a claimed one whose time is over."""
        return self._end(key, OutreachState.CLAIMED, OutreachState.EXPIRED, owner=owner, reason=reason)

    def fail(self, key: OutreachKey, *, owner: str, reason: str) -> bool:
        """End a claimed one that cannot be sent, whoever tries."""
        return self._end(key, OutreachState.CLAIMED, OutreachState.FAILED, owner=owner, reason=reason)

    def sweep(self, key: OutreachKey, now: datetime) -> OutreachState | None:
        """Settle what its owner left behind, or what was not sent in time.

        Returns:
            The state it was moved to; None where there was nothing to settle, or somebody else did.
        """
        item = self._read(key)
        if item is None:
            return None
        expired = OutreachItem.expires_at <= now
        lease_over = OutreachItem.lease_until < now
        done, target = False, None
        if item.state == OutreachState.SCHEDULED and item.expires_at <= now:
            target = OutreachState.EXPIRED
            done = self._end(key, OutreachState.SCHEDULED, target, condition=expired, reason="expired")
        elif item.state == OutreachState.CLAIMED and item.lease_until < now:
            target = OutreachState.SCHEDULED
            again = _due_again(item.send_after)
            done = self._move(key, OutreachState.CLAIMED, target, condition=lease_over, actions=again) is not None
        elif item.state == OutreachState.SENDING and item.lease_until < now:
            target = OutreachState.UNKNOWN
            done = self._end(key, OutreachState.SENDING, target, condition=lease_over, reason="sender_died")
        return target if done else None

    def _end(
        self,
        key: OutreachKey,
        source: OutreachState,
        target: OutreachState,
        *,
        owner: str | None = None,
        condition: Condition | None = None,
        reason: str | None = None,
        actions: Iterable[Action] = (),
    ) -> bool:
        """Move to a state in which nothing more is due, and out of the index."""
        ending = [
            *actions,
            OutreachItem.due_shard.remove(),
            OutreachItem.due_at.remove(),
            OutreachItem.lease_until.remove(),
        ]
        if reason is not None:
            ending.append(OutreachItem.reason.set(reason))
        return self._move(key, source, target, owner=owner, condition=condition, actions=ending) is not None

    def _move(
        self,
        key: OutreachKey,
        source: OutreachState,
        target: OutreachState,
        *,
        owner: str | None = None,
        condition: Condition | None = None,
        actions: Iterable[Action],
    ) -> OutreachItem | None:
        """Move it if it stands at `source`, is `owner`'s and meets the condition; return it as it is then."""
        allowed, moved = _step(source, target)
        if owner is not None:
            allowed &= OutreachItem.owner == owner
        if condition is not None:
            allowed &= condition
        return self._update(key, allowed, [moved, *actions])

    def _update(self, key: OutreachKey, condition: Condition, actions: list[Action]) -> OutreachItem | None:
        for attempt in range(TRIES):
            item = _item(key)
            with translated():
                try:
                    item.update(actions=actions, condition=condition)
                except UpdateError as error:
                    if error.cause_response_code == CONDITION_FAILED:
                        return None
                    if error.cause_response_code != CONFLICT or attempt == TRIES - 1:
                        raise
                else:
                    return item
            self._give_way(attempt)
        raise AssertionError("the last try returns or raises")

    def _transact(self, write: Callable[[TransactWrite], None]) -> tuple[bool, bool] | None:
        """Write the outreach and the profile together.

        Returns:
            Which of the two conditions failed (neither: it is written); None where others kept getting in the way.
        """
        for attempt in range(TRIES):
            with translated():
                try:
                    with TransactWrite(connection=connection()) as transaction:
                        write(transaction)
                except TransactWriteError as error:
                    if error.cause_response_code != TRANSACTION_CANCELLED:
                        raise
                    outreach, profile = (reason and reason.code for reason in error.cancellation_reasons)
                    if not {outreach, profile} <= {None, CONDITION_FAILED_REASON, CONFLICT_REASON}:
                        raise
                    if CONDITION_FAILED_REASON in {outreach, profile}:
                        return outreach == CONDITION_FAILED_REASON, profile == CONDITION_FAILED_REASON
                else:
                    return False, False
            self._give_way(attempt)
        return None

    def _give_way(self, attempt: int) -> None:
        self._sleep(FIRST_PAUSE_SECONDS * 2**attempt)

    def _read(self, key: OutreachKey) -> OutreachItem | None:
        with translated():
            try:
                return OutreachItem.get(
                    keys.user(key.bot_id, key.user_id), keys.outreach(key.campaign, key.period), consistent_read=True
                )
            except DoesNotExist:
                return None


def _step(source: OutreachState, target: OutreachState) -> tuple[Condition, Action]:
    """Return the condition and the change of a move that the domain permits."""
    if target not in MOVES[source]:
        raise ValueError(f"an outreach never moves from {source} to {target}")
    return OutreachItem.state == source, OutreachItem.state.set(target)


def _due_again(due_at: datetime) -> list[Action]:
    return [
        OutreachItem.send_after.set(due_at),
        OutreachItem.due_at.set(due_at),
        OutreachItem.owner.remove(),
        OutreachItem.lease_until.remove(),
    ]


def _allows_message(charge: Charge, policy: Policy, now: datetime) -> Condition:
    """Return what must hold of the profile at the moment of counting; each line is one of the gate's questions."""
    may_write = (
        ProfileItem.consent == Consent.GRANTED
        if policy.consent is ConsentPolicy.ASK
        else ProfileItem.consent != Consent.DECLINED
    )
    not_stopped = holds(ProfileItem.opted_out, False)
    not_blocked = holds(ProfileItem.blocked, False)
    gap_is_over = ProfileItem.next_ok_at.does_not_exist() | (ProfileItem.next_ok_at <= now)
    same_zone = ProfileItem.zone == charge.zone
    if charge.first_of_day:
        cap_has_room = ProfileItem.cap_day.does_not_exist() | (ProfileItem.cap_day < charge.day)
    else:
        cap_has_room = (ProfileItem.cap_day == charge.day) & (ProfileItem.cap_count < policy.max_per_day)
    allowed: Condition = may_write & not_stopped & not_blocked & gap_is_over & same_zone & cap_has_room
    return allowed


def _counted(charge: Charge) -> list[Action]:
    next_ok = ProfileItem.next_ok_at.set(charge.next_ok_at)
    if charge.first_of_day:
        return [next_ok, ProfileItem.cap_day.set(charge.day), ProfileItem.cap_count.set(1)]
    return [next_ok, ProfileItem.cap_count.set(ProfileItem.cap_count + 1)]


def _given_back(charge: Charge) -> list[Action]:
    before = charge.next_ok_before
    return [
        ProfileItem.cap_count.set(ProfileItem.cap_count - 1),
        ProfileItem.next_ok_at.remove() if before is None else ProfileItem.next_ok_at.set(before),
    ]


def _item(key: OutreachKey) -> OutreachItem:
    return OutreachItem(keys.user(key.bot_id, key.user_id), keys.outreach(key.campaign, key.period))


def _profile(key: OutreachKey) -> ProfileItem:
    return ProfileItem(keys.user(key.bot_id, key.user_id), keys.PROFILE)


def _outreach_of(key: OutreachKey, item: OutreachItem) -> Outreach:
    return Outreach(
        bot_id=key.bot_id,
        user_id=key.user_id,
        campaign=key.campaign,
        period=key.period,
        outreach_type=OutreachType(item.outreach_type),
        state=OutreachState(item.state),
        priority=item.priority,
        trigger=item.trigger,
        template=item.template,
        planned_at=item.planned_at,
        due_at=item.send_after,
        expires_at=item.expires_at,
        reason=item.reason,
        attempts=item.attempts,
        message_id=item.message_id,
        sent_at=item.sent_at,
    )
