"""The send ledger: every move of an outreach is a conditional write, and the one before Telegram also counts it.

    plan      put, if it is not there                       scheduled
    claim     scheduled, due, not expired                   -> claimed, mine until the lease ends
    commit    claimed by me, lease alive                    -> sending    } one
              profile: consent, no stop, no block, nothing  -> counted,   } transaction
              said since it was read, gap over, cap not        awaited,   }
              used up, met the same; budget: not spent         met        }
    hold out  the same without the budget                   -> held_out, counted, awaited, met: all but the message
    record    sending, mine                                 -> sent | failed | unknown
    put back  sending, mine, certainly not sent             -> scheduled, as if it had never been committed
    answer    exposed, not settled                          -> when the user first returned; sent -> responded
    press     exposed                                       -> opened, "not now", stopped: when each was first pressed
    settle    exposed 8 days ago                            -> its outcomes, and the experiment's sums
    sweep     claimed, lease over -> scheduled;  sending, lease over -> unknown;  scheduled, expired -> expired

Nothing leaves `sending` for a second attempt without proof that the first was not sent: Telegram has no idempotency
key, so a message that may be out counts as out.

The index `due` names what is to be done next. While there is something to send, `due_at` is the due time, or the
lease's end while claimed or sending, so that the sweeper finds what a dead sender left. What a user was exposed to
waits there to be settled; the rest is in no index once it has ended. Planning, each end and each response is counted in
the transaction that it happens in (`domain.statistics`).
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from pynamodb.exceptions import DoesNotExist, UpdateError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from engagement.domain.gate import Charge, Policy
from engagement.domain.interaction import Control, Exposure
from engagement.domain.outcomes import SETTLE_AFTER, Outcomes, awaiting_of, met_by, responds
from engagement.domain.outreach import MOVES, Arm, Commit, Outreach, OutreachKey, OutreachState, OutreachType
from engagement.domain.profile import Awaiting, Consent, ConsentPolicy
from engagement.domain.statistics import PRESSES, Moves, ending_moves, joined, left_moves, planning_moves, press_moves
from engagement.errors import StoreUnavailableError
from engagement.store import budgets, keys
from engagement.store.due import due_rows
from engagement.store.statistics import count_in, of_moves
from engagement.store.table import (
    CONDITION_FAILED,
    CONFLICT,
    EpochSeconds,
    OutreachItem,
    ProfileItem,
    back_off,
    code_of,
    holds,
    translated,
)
from engagement.store.transactions import FIRST_PAUSE_SECONDS, TRIES, settled, transact

RETENTION = timedelta(days=365)
"""How long an outreach is kept; far longer than the period it keeps from being planned twice."""


S = OutreachState
OUTREACH, PROFILE = 0, 1
"""Places in a transaction: the outreach comes first, the profile, if it takes part, second."""


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
        failed = self._transact(lambda transaction: plan_in(transaction, outreach))
        return not settled(failed)

    def get(self, key: OutreachKey) -> Outreach | None:
        """Read one consistently."""
        item = self._read(key)
        return None if item is None else outreach_of(item)

    def of_user(self, bot_id: int, user_id: int) -> list[Outreach]:
        """Read all of a user's consistently, by campaign and period."""
        with translated():
            found = OutreachItem.query(
                keys.user(bot_id, user_id), OutreachItem.sk.startswith(keys.OUTREACH_PREFIX), consistent_read=True
            )
            return [outreach_of(item) for item in found]

    def due(self, partition: int, now: datetime, limit: int) -> list[OutreachKey]:
        """Return what is to be sent or swept in a partition [0, 16) of the index, longest due first.

        The index lags a little: every move that follows checks the item itself.
        """
        return _due_keys(keys.outreach_shard(partition), now, limit)

    def due_to_settle(self, partition: int, now: datetime, limit: int) -> list[OutreachKey]:
        """Return whose outcomes are to be added up in a partition [0, 16) of the index, longest due first."""
        return _due_keys(keys.settle_shard(partition), now, limit)

    def claim(self, key: OutreachKey, *, owner: str, now: datetime, lease_until: datetime) -> Outreach | None:
        """Take one that is due for oneself until `lease_until`; None where it is not to be had."""
        is_due = (OutreachItem.send_after <= now) & (OutreachItem.expires_at > now)
        was_scheduled, is_claimed = _step(S.SCHEDULED, S.CLAIMED)
        item = self._update(
            key,
            was_scheduled & is_due,
            [
                is_claimed,
                OutreachItem.owner.set(owner),
                OutreachItem.lease_until.set(lease_until),
                OutreachItem.due_at.set(lease_until),
            ],
        )
        return None if item is None else outreach_of(item)

    def commit(self, outreach: Outreach, *, owner: str, charge: Charge, policy: Policy, now: datetime) -> Commit:
        """Count the message against the user's allowance and mark it as being sent: the point of no return.

        One transaction: a /stop, a block or another message of the same user comes either before it, and refuses it,
        or after it. A lost answer leaves the outreach to the sweeper; nothing was sent.

        Args:
            outreach: claimed before, as `outcomes.expose` returned it; its `enhanced` is kept.
            owner: who claimed it.
            charge: from `gate.charge` for the profile as it was read.
            policy: what the operator allows.
            now: the moment, by the clock that `charge` was made with.
        """
        one_more = OutreachItem.attempts.set(OutreachItem.attempts + 1)
        actions = [one_more, *([OutreachItem.enhanced.set(outreach.enhanced)] if outreach.enhanced else [])]

        def also(transaction: TransactWrite) -> None:
            if policy.budget:
                today = _day(outreach)
                budgets.take_in(transaction, outreach.bot_id, budgets.MESSAGES, today, policy.budget)

        return self._expose(outreach, S.SENDING, actions, also, owner=owner, charge=charge, policy=policy, now=now)

    def hold_out(self, outreach: Outreach, *, owner: str, charge: Charge, policy: Policy, now: datetime) -> Commit:
        """Count what its user will not get as if it were sent; the arguments and the answer are `commit`'s."""

        def also(transaction: TransactWrite) -> None:
            _count_end(transaction, outreach, S.HELD_OUT)

        actions = _ended(outreach)
        return self._expose(outreach, S.HELD_OUT, actions, also, owner=owner, charge=charge, policy=policy, now=now)

    def _expose(
        self,
        outreach: Outreach,
        target: OutreachState,
        actions: Iterable[Action],
        also: Callable[[TransactWrite], None],
        *,
        owner: str,
        charge: Charge,
        policy: Policy,
        now: datetime,
    ) -> Commit:
        was_claimed, moved = _step(S.CLAIMED, target)
        is_mine = was_claimed & (OutreachItem.owner == owner) & (OutreachItem.lease_until > now)
        exposed = [
            OutreachItem.exposed_at.set(awaiting_of(outreach).exposed_at),
            OutreachItem.first_of.set(set(outreach.first_of)),
        ]

        def write(transaction: TransactWrite) -> None:
            transaction.update(_item(outreach), actions=[moved, *actions, *exposed], condition=is_mine)
            transaction.update(
                _profile(outreach),
                actions=[*_counted(charge), *_remembered(outreach)],
                condition=_allows_message(charge, policy, now) & _met_the_same(outreach),
            )
            also(transaction)

        failed = self._transact(write)
        if failed is None:
            return Commit.BUSY
        if not failed:
            return Commit.COMMITTED
        return Commit.LOST if OUTREACH in failed else Commit.REFUSED

    def record_sent(self, outreach: Outreach, *, owner: str, message_id: int | None, at: datetime) -> bool:
        """Record that Telegram accepted it; False where it is not ours to record any more (so for all `record_*`).

        Args:
            outreach: as it was committed (so for all `record_*`).
            owner: who committed it.
            message_id: Telegram's.
            at: when the request began.
        """
        actions: list[Action] = [OutreachItem.sent_at.set(at)]
        if message_id is not None:
            actions.append(OutreachItem.message_id.set(message_id))
        return self._end(outreach, S.SENDING, S.SENT, owner=owner, actions=actions)

    def record_failed(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
        """Record that it was certainly not sent and never will be."""
        return self._end(outreach, S.SENDING, S.FAILED, owner=owner, reason=reason)

    def record_unknown(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
        """Record that nobody can tell whether it was sent: it counts as sent, and is never tried again."""
        return self._end(outreach, S.SENDING, S.UNKNOWN, owner=owner, reason=reason)

    def put_back(
        self, outreach: Outreach, *, owner: str, due_at: datetime, charge: Charge, policy: Policy, attempted: bool
    ) -> bool:
        """Schedule again what was committed and certainly not sent, as if its user had never been exposed to it.

        What it took of the user's allowance is given back if nobody else's message was counted since.

        Args:
            outreach: as it was committed.
            owner: who committed it.
            due_at: when to try again.
            charge: what the commit counted.
            policy: what it was counted by.
            attempted: False where it does not count as an attempt at this message: no request was made, or Telegram
                refused all alike.

        Returns:
            False where it is not ours any more, or others kept getting in the way: then it counts as sent.
        """
        was_sending, is_scheduled = _step(S.SENDING, S.SCHEDULED)
        actions = [
            is_scheduled,
            *_due_again(due_at),
            OutreachItem.exposed_at.remove(),
            OutreachItem.first_of.remove(),
            OutreachItem.returned_at.remove(),
            OutreachItem.enhanced.remove(),
        ]
        if not attempted:
            actions.append(OutreachItem.attempts.set(OutreachItem.attempts - 1))
        is_mine = was_sending & (OutreachItem.owner == owner)
        forgotten, exists = _forgotten(outreach, outreach.first_of), ProfileItem.pk.exists()
        # Nobody else's message can have been counted since, or the next allowed time would be theirs.
        count_is_ours = (
            (ProfileItem.next_ok_at == charge.next_ok_at)
            & (ProfileItem.cap_day == charge.day)
            & (ProfileItem.cap_count > 0)
        )

        def write(transaction: TransactWrite, changes: list[Action], condition: Condition | None) -> None:
            transaction.update(_item(outreach), actions=actions, condition=is_mine)
            if condition is not None:
                transaction.update(_profile(outreach), actions=changes, condition=condition)
            if policy.budget:
                budgets.give_back_in(transaction, outreach.bot_id, budgets.MESSAGES, _day(outreach))

        # Where the count is another message's by now it stays; where the user is gone, so is all of it.
        return self._first_permitted(
            lambda transaction: write(transaction, [*_given_back(charge), *forgotten], count_is_ours),
            lambda transaction: write(transaction, forgotten, exists),
            lambda transaction: write(transaction, [], None),
        )

    def reschedule(self, outreach: Outreach, *, owner: str, due_at: datetime) -> bool:
        """Give a claim up, to be sent at `due_at`."""
        was_claimed, is_scheduled = _step(S.CLAIMED, S.SCHEDULED)
        is_mine = was_claimed & (OutreachItem.owner == owner)
        return self._update(outreach.key, is_mine, [is_scheduled, *_due_again(due_at)]) is not None

    def suppress(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
        """End a claimed one that the gate refused."""
        return self._end(outreach, S.CLAIMED, S.SUPPRESSED, owner=owner, reason=reason)

    def cancel(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
        """End a claimed one that has no point any more."""
        return self._end(outreach, S.CLAIMED, S.CANCELLED, owner=owner, reason=reason)

    def expire(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
        """End a claimed one whose time is over."""
        return self._end(outreach, S.CLAIMED, S.EXPIRED, owner=owner, reason=reason)

    def fail(self, outreach: Outreach, *, owner: str, reason: str) -> bool:
        """End a claimed one that cannot be sent, whoever tries."""
        return self._end(outreach, S.CLAIMED, S.FAILED, owner=owner, reason=reason)

    def sweep(self, key: OutreachKey, now: datetime) -> OutreachState | None:
        """Settle what its owner left behind, or what was not sent in time.

        Returns:
            The state it was moved to; None where there was nothing to settle, or somebody else did.
        """
        item = self._read(key)
        if item is None:
            return None
        outreach = outreach_of(item)
        lease_is_over = item.lease_until is not None and item.lease_until < now
        is_left = OutreachItem.lease_until < now
        done, target = False, None
        if outreach.state is S.SCHEDULED and outreach.expires_at <= now:
            target = S.EXPIRED
            expired = OutreachItem.expires_at <= now
            done = self._end(outreach, S.SCHEDULED, target, condition=expired, reason="expired")
        elif outreach.state is S.CLAIMED and lease_is_over:
            target = S.SCHEDULED
            was_claimed, is_scheduled = _step(S.CLAIMED, target)
            again = [is_scheduled, *_due_again(outreach.due_at)]
            done = self._update(key, was_claimed & is_left, again) is not None
        elif outreach.state is S.SENDING and lease_is_over:
            target = S.UNKNOWN
            # Not one that was put back and committed anew since it was read.
            same = is_left & _reads(OutreachItem.exposed_at, outreach.exposed_at)
            done = self._end(outreach, S.SENDING, target, condition=same, reason="sender_died")
        return target if done else None

    def answer(self, bot_id: int, user_id: int, awaiting: Awaiting, at: datetime) -> bool:
        """Record that a user returned after an exposure; the earliest return counts, in whatever order they are told.

        Args:
            bot_id: the bot.
            user_id: the user.
            awaiting: the exposure, from their profile.
            at: time of an interaction.

        Returns:
            Whether anything was recorded; not where an earlier return is known, or the exposure is settled, was taken
            back, or came later than the interaction.
        """
        key = OutreachKey(bot_id, user_id, awaiting.campaign, awaiting.period)
        for attempt in range(TRIES):
            outreach = self.get(key)
            if outreach is None or outreach.exposed_at != awaiting.exposed_at or outreach.settled_at is not None:
                return False
            if at <= awaiting.exposed_at or (outreach.returned_at is not None and outreach.returned_at <= at):
                return False
            if self._returned(outreach, at):
                return True
            self._give_way(attempt)
        raise _busy()

    def press(self, bot_id: int, user_id: int, about: Exposure, control: Control, at: datetime) -> bool:
        """Record that a button under an outreach was pressed, and count it: each kind of press once an outreach.

        Args:
            bot_id: the bot.
            user_id: the user.
            about: the outreach.
            control: one of `PRESSES`.
            at: when.

        Returns:
            Whether anything was recorded; not where it was pressed before, or there is no such outreach any more.
        """
        pressed = PRESSES[control]
        exposed = (
            outreach
            for outreach in self.of_user(bot_id, user_id)
            if outreach.exposed_at == about.exposed_at and outreach.outreach_type is about.outreach_type
        )
        outreach = next(exposed, None)
        if outreach is None:
            return False
        attribute = getattr(OutreachItem, f"{pressed}_at")
        is_first = OutreachItem.exposed_at == about.exposed_at
        is_first &= attribute.does_not_exist()

        def write(transaction: TransactWrite) -> None:
            transaction.update(_item(outreach), actions=[attribute.set(at)], condition=is_first)
            count_in(transaction, bot_id, user_id, of_moves(press_moves(outreach, pressed)))

        failed = self._transact(write)
        return not settled(failed)

    def _returned(self, outreach: Outreach, at: datetime) -> bool:
        """Write a return, unless the outreach is another by now than it was read as."""
        unchanged = (
            (OutreachItem.state == outreach.state)
            & _reads(OutreachItem.exposed_at, outreach.exposed_at)
            & _reads(OutreachItem.returned_at, outreach.returned_at)
            & OutreachItem.settled_at.does_not_exist()
        )
        returned = OutreachItem.returned_at.set(at)
        if outreach.state is not S.SENT or not responds(outreach, at):
            return self._update(outreach.key, unchanged, [returned]) is not None
        _, is_responded = _step(S.SENT, S.RESPONDED)

        def write(transaction: TransactWrite) -> None:
            transaction.update(_item(outreach), actions=[is_responded, returned], condition=unchanged)
            _count_end(transaction, outreach, S.RESPONDED)

        return self._transact(write) == frozenset()

    def settle(
        self, outreach: Outreach, outcomes: Outcomes, increments: Mapping[str, Mapping[str, int]], now: datetime
    ) -> bool:
        """Keep what came of an exposure, add it to the experiment's sums, and await nothing of it any more.

        Args:
            outreach: as it was read; exposed.
            outcomes: from `outcomes_of` for it.
            increments: from `lift.increments`: by how much each group's counters move.
            now: aware.

        Returns:
            False where somebody else has settled it, or it is another by now than it was read as.
        """
        actions: list[Action] = [
            OutreachItem.settled_at.set(now),
            OutreachItem.outcomes_json.set(outcomes.as_json()),
            OutreachItem.due_shard.remove(),
            OutreachItem.due_at.remove(),
        ]
        sums = {keys.lift(outreach.experiment, group): counts for group, counts in increments.items() if counts}
        moves = left_moves(outreach, outcomes)
        if outreach.state is S.SENT and outcomes.responded:
            # They answered before it was recorded as sent.
            actions.append(_step(S.SENT, S.RESPONDED)[1])
            moves = joined(moves, ending_moves(outreach, S.RESPONDED))
        unchanged = (
            OutreachItem.settled_at.does_not_exist()
            & (OutreachItem.state == outreach.state)
            & _reads(OutreachItem.exposed_at, outreach.exposed_at)
            & _reads(OutreachItem.returned_at, outreach.returned_at)
            & _reads(OutreachItem.stopped_at, outreach.stopped_at)
        )

        def write(transaction: TransactWrite, *, with_profile: bool) -> None:
            transaction.update(_item(outreach), actions=actions, condition=unchanged)
            if with_profile:
                nothing_awaited = _forgotten(outreach, ())
                transaction.update(_profile(outreach), actions=nothing_awaited, condition=ProfileItem.pk.exists())
            count_in(transaction, outreach.bot_id, outreach.user_id, sums | of_moves(moves))

        return self._first_permitted(
            lambda transaction: write(transaction, with_profile=True),
            lambda transaction: write(transaction, with_profile=False),  # the user is gone
        )

    def _first_permitted(self, *writes: Callable[[TransactWrite], None]) -> bool:
        """Make the first write that the profile permits; False where the outreach permits none."""
        for write in writes:
            failed = self._transact(write)
            if not failed:
                return failed is not None
            if OUTREACH in failed:
                return False
        return False

    def _end(
        self,
        outreach: Outreach,
        source: OutreachState,
        target: OutreachState,
        *,
        owner: str | None = None,
        condition: Condition | None = None,
        reason: str | None = None,
        actions: Iterable[Action] = (),
    ) -> bool:
        """Move to a state in which nothing more is to be sent, and count it."""
        allowed, moved = _step(source, target)
        if owner is not None:
            allowed &= OutreachItem.owner == owner
        if condition is not None:
            allowed &= condition
        changes = [moved, *actions, *_ended(outreach)]
        if reason is not None:
            changes.append(OutreachItem.reason.set(reason))

        def write(transaction: TransactWrite) -> None:
            transaction.update(_item(outreach), actions=changes, condition=allowed)
            _count_end(transaction, outreach, target)

        failed = self._transact(write)
        return not settled(failed)

    def _update(self, key: OutreachKey, condition: Condition, actions: list[Action]) -> OutreachItem | None:
        """Write one item if the condition holds; return it as it is then."""
        for attempt in range(TRIES):
            item = _item(key)
            with translated():
                try:
                    item.update(actions=actions, condition=condition)
                except UpdateError as error:
                    if code_of(error) == CONDITION_FAILED:
                        return None
                    if code_of(error) != CONFLICT or attempt == TRIES - 1:
                        raise
                else:
                    return item
            self._give_way(attempt)
        raise AssertionError("the last try returns or raises")

    def _transact(self, write: Callable[[TransactWrite], None]) -> frozenset[int] | None:
        """Write several items together, the outreach first.

        Returns:
            Places of those whose conditions failed (none: it is written); None where others kept getting in the way.
        """
        return transact(write, self._sleep)

    def _give_way(self, attempt: int) -> None:
        back_off(attempt, FIRST_PAUSE_SECONDS, self._sleep)

    def _read(self, key: OutreachKey) -> OutreachItem | None:
        with translated():
            try:
                return OutreachItem.get(
                    keys.user(key.bot_id, key.user_id), keys.outreach(key.campaign, key.period), consistent_read=True
                )
            except DoesNotExist:
                return None


def plan_in(transaction: TransactWrite, outreach: Outreach, also: Moves | None = None) -> None:
    """Plan an outreach as a part of a transaction, which fails where it was planned before.

    Args:
        transaction: writes it, and whatever else.
        outreach: scheduled.
        also: what else the transaction counts for this user: one transaction may touch an item of counters once.
    """
    pk = keys.user(outreach.bot_id, outreach.user_id)
    item = item_of(
        replace(outreach, state=OutreachState.SCHEDULED),
        due_shard=keys.outreach_shard(keys.due_partition(pk)),
        due_at=outreach.due_at,
        expires_on=outreach.planned_at + RETENTION,
    )
    transaction.save(item, condition=OutreachItem.pk.does_not_exist())
    moves = joined(planning_moves(outreach), also or {})
    count_in(transaction, outreach.bot_id, outreach.user_id, of_moves(moves))


def item_of(outreach: Outreach, *, due_shard: str, due_at: datetime, expires_on: datetime) -> OutreachItem:
    """Return an outreach as an item that is not in the table yet, in the index.

    Args:
        outreach: whole.
        due_shard: where in the index.
        due_at: likewise.
        expires_on: until when it is kept.
    """
    return OutreachItem(
        keys.user(outreach.bot_id, outreach.user_id),
        keys.outreach(outreach.campaign, outreach.period),
        due_shard=due_shard,
        due_at=due_at,
        expires_on=expires_on,
        outreach_type=outreach.outreach_type,
        state=outreach.state,
        priority=outreach.priority,
        trigger=outreach.trigger,
        template=outreach.template,
        planned_at=outreach.planned_at,
        send_after=outreach.due_at,
        expires_at=outreach.expires_at,
        arm=outreach.arm,
        treated_probability=outreach.treated_probability,
        experiment=outreach.experiment or None,
        program_probability=outreach.program_probability,
        in_control=outreach.in_control,
        measured_by_type=outreach.measured_by_type,
        template_probability=outreach.template_probability,
        values_json=json.dumps(dict(outreach.values), ensure_ascii=False) if outreach.values else None,
        covariate=outreach.covariate,
        context=outreach.context,
        attempts=outreach.attempts,
        exposed_at=outreach.exposed_at,
        first_of=set(outreach.first_of) or None,
        opened_at=outreach.opened_at,
        not_now_at=outreach.not_now_at,
        stopped_at=outreach.stopped_at,
        forgotten=outreach.forgotten or None,
    )


def _due_keys(shard: str, now: datetime, limit: int) -> list[OutreachKey]:
    rows = islice(due_rows(shard, now, page=limit), limit)
    return [OutreachKey(*keys.user_of(pk), *keys.outreach_of(sk)) for pk, sk in rows]


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


def _ended(outreach: Outreach) -> list[Action]:
    """Return what takes it out of the sender's part of the index; what a user was exposed to waits to be settled."""
    released = OutreachItem.lease_until.remove()
    if outreach.exposed_at is None:
        return [released, OutreachItem.due_shard.remove(), OutreachItem.due_at.remove()]
    shard = keys.settle_shard(keys.due_partition(keys.user(outreach.bot_id, outreach.user_id)))
    due_at = outreach.exposed_at + SETTLE_AFTER
    return [released, OutreachItem.due_shard.set(shard), OutreachItem.due_at.set(due_at)]


def _count_end(transaction: TransactWrite, outreach: Outreach, end: OutreachState) -> None:
    count_in(transaction, outreach.bot_id, outreach.user_id, of_moves(ending_moves(outreach, end)))


def _allows_message(charge: Charge, policy: Policy, now: datetime) -> Condition:
    """Return what must hold of the profile at the moment of counting; each line is one of the gate's questions."""
    may_write = (
        ProfileItem.consent == Consent.GRANTED
        if policy.consent is ConsentPolicy.ASK
        else ProfileItem.consent != Consent.DECLINED
    )
    not_stopped = holds(ProfileItem.opted_out, False)
    not_blocked = holds(ProfileItem.blocked, False)
    # What the gate was told of types, "not now" and crises holds: nothing was said since.
    nothing_said = (
        ProfileItem.word == charge.word if charge.word else ProfileItem.word.does_not_exist() | (ProfileItem.word == 0)
    )
    gap_is_over = ProfileItem.next_ok_at.does_not_exist() | (ProfileItem.next_ok_at <= now)
    same_zone = ProfileItem.zone == charge.zone
    if charge.first_of_day:
        cap_has_room = ProfileItem.cap_day.does_not_exist() | (ProfileItem.cap_day < charge.day)
    else:
        cap_has_room = (ProfileItem.cap_day == charge.day) & (ProfileItem.cap_count < policy.max_per_day)
    allowed: Condition = may_write & not_stopped & not_blocked & nothing_said & gap_is_over & same_zone & cap_has_room
    return allowed


def _met_the_same(outreach: Outreach) -> Condition:
    """Return that the profile still says of each group whether this is the user's first exposure."""
    same: Condition = ProfileItem.pk.exists()
    for group, name in met_by(outreach).items():
        has_met = ProfileItem.met.contains(name)
        same &= ~has_met if group in outreach.first_of else has_met
    return same


def _remembered(outreach: Outreach) -> list[Action]:
    """Return what an exposure adds to the profile."""
    awaited = ProfileItem.awaiting.add({str(awaiting_of(outreach))})
    names = {name for group, name in met_by(outreach).items() if group in outreach.first_of}
    return [awaited, *([ProfileItem.met.add(names)] if names else [])]


def _forgotten(outreach: Outreach, groups: Iterable[str]) -> list[Action]:
    """Return what takes from the profile that an exposure is awaited, and that it was the first of some groups."""
    awaited = ProfileItem.awaiting.delete({str(awaiting_of(outreach))})
    names = {name for group, name in met_by(outreach).items() if group in groups}
    return [awaited, *([ProfileItem.met.delete(names)] if names else [])]


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


def _reads(attribute: EpochSeconds, at: datetime | None) -> Condition:
    """Return that a time is as it was read."""
    condition: Condition = attribute.does_not_exist() if at is None else attribute == at
    return condition


def _day(outreach: Outreach) -> date:
    """Return the UTC day whose budget an exposure takes from."""
    return awaiting_of(outreach).exposed_at.astimezone(UTC).date()


def _busy() -> StoreUnavailableError:
    return StoreUnavailableError("DynamoDB: others kept writing the same items")


def _item(outreach: Outreach | OutreachKey) -> OutreachItem:
    return OutreachItem(keys.user(outreach.bot_id, outreach.user_id), keys.outreach(outreach.campaign, outreach.period))


def _profile(outreach: Outreach) -> ProfileItem:
    return ProfileItem(keys.user(outreach.bot_id, outreach.user_id), keys.PROFILE)


def outreach_of(item: OutreachItem) -> Outreach:
    """Return an item of the table as the domain has it."""
    bot_id, user_id = keys.user_of(item.pk)
    campaign, period = keys.outreach_of(item.sk)
    return Outreach(
        bot_id=bot_id,
        user_id=user_id,
        campaign=campaign,
        period=period,
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
        arm=Arm(item.arm),
        treated_probability=item.treated_probability,
        experiment=item.experiment or "",
        program_probability=item.program_probability,
        in_control=item.in_control,
        measured_by_type=item.measured_by_type,
        template_probability=item.template_probability,
        values=json.loads(item.values_json) if item.values_json else {},
        covariate=item.covariate,
        context=item.context,
        exposed_at=item.exposed_at,
        first_of=frozenset(item.first_of or ()),
        returned_at=item.returned_at,
        settled_at=item.settled_at,
        enhanced=item.enhanced,
        opened_at=item.opened_at,
        not_now_at=item.not_now_at,
        stopped_at=item.stopped_at,
        forgotten=bool(item.forgotten),
    )
