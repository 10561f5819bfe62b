"""Every key of the table, once.

| item | pk | sk |
|---|---|---|
| profile | USER#<bot>#<user> | PROFILE |
| interaction | same | INT#<update_id> |
| pattern | same | PATTERN |
| outreach | same | OUT#<campaign>#<period> |
| tombstone | same | ERASED |
| pause after a 429 | BOT#<bot> | PAUSE |
| census of a day's scoring | BOT#<bot> | CENSUS#<date>#<share> |
| sender's lease | BOT#<bot> | LEASE#<function> |
| dead letter | DEAD#<bot>#<date> | <update_id or digest> |

Index `due` (keys only): due_shard = SCORE#<00..15> or OUTREACH#<00..15>, due_at = epoch seconds.
An item is in it only while something is due. A user's partition is the unit of privacy.
"""

import zlib
from datetime import date

PROFILE = "PROFILE"
PATTERN = "PATTERN"
TOMBSTONE = "ERASED"
INTERACTION_PREFIX = "INT#"
OUTREACH_PREFIX = "OUT#"
USER_PREFIX = "USER#"
PAUSE = "PAUSE"

DUE_INDEX = "due"
DUE_PARTITIONS = 16


def user(bot_id: int, user_id: int) -> str:
    """Partition of everything we hold about one user of one bot."""
    return f"{USER_PREFIX}{bot_id}#{user_id}"


def user_of(pk: str) -> tuple[int, int]:
    """Return (bot_id, user_id) of a user's partition key; the inverse of `user`."""
    _, bot_id, user_id = pk.split("#")
    return int(bot_id), int(user_id)


def interaction(update_id: int) -> str:
    """Sort key of an interaction: the update's id and nothing else, so that a redelivery meets itself."""
    return f"{INTERACTION_PREFIX}{update_id}"


def outreach(campaign: str, period: str) -> str:
    """Sort key of an outreach: planning the same campaign and period twice meets itself."""
    return f"{OUTREACH_PREFIX}{campaign}#{period}"


def outreach_of(sk: str) -> tuple[str, str]:
    """Return (campaign, period) of an outreach's sort key; the inverse of `outreach`."""
    _, campaign, period = sk.split("#")
    return campaign, period


def bot(bot_id: int) -> str:
    """Partition of what concerns the bot and no user."""
    return f"BOT#{bot_id}"


def lease(function: str) -> str:
    """Sort key of the lease that keeps two runs of one function apart."""
    return f"LEASE#{function}"


def census(day: date, share: int) -> str:
    """Sort key of the census of one day and share [0, 100) of the users."""
    return f"{census_day(day)}{share:02}"


def census_day(day: date) -> str:
    """Begin the sort keys of all shares of one day."""
    return f"CENSUS#{day.isoformat()}#"


def dead_letters(bot_id: int, day: date) -> str:
    """Partition of the updates of one day that could not be read."""
    return f"DEAD#{bot_id}#{day.isoformat()}"


def due_partition(pk: str) -> int:
    """Spread users evenly and stably over the index's partitions [0, 16)."""
    return zlib.crc32(pk.encode()) % DUE_PARTITIONS


def score_shard(partition: int) -> str:
    """Index partition of the patterns to score."""
    return f"SCORE#{partition:02}"


def outreach_shard(partition: int) -> str:
    """Index partition of the outreach to send, or to settle."""
    return f"OUTREACH#{partition:02}"
