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
| award | USER#<bot>#<user> | AWARD#<milestone> |
| answer to a question of ours | same | ANSWER#<update_id>#<question> |
| something that a person must look at | same | ATTENTION#<update_id> |
| the user asked for their data | same | REQUEST#mydata |
| what is left of an erased user's exposure | USER#<bot>#-<random> | OUT#erased#exposure |
| day's counters | STATS#<bot>#<00..15> | DAY#<date> |
| gauges: users by churn band | same | GAUGES |
| sums of an experiment | same | LIFT#<experiment>#<"all" or outreach type> |
| what erased users had moved, of both | same | GONE#<month>, GONE#LIFT#<experiment>#<group> |
| operator's milestone, template | CATALOGUE#<bot> | MILESTONE#<name>, TEMPLATE#<name> |
| what was spent of a day's budget | BOT#<bot> | BUDGET#<what>#<date> |
| sender's lease | BOT#<bot> | LEASE#<function> |
| dead letter | DEAD#<bot>#<date> | <update_id or digest> |

Index `due` (keys only): due_shard = <what>#<00..15>, due_at = epoch seconds. What is due: SCORE (a pattern), OUTREACH
and SETTLE (an outreach), KEEP (a profile: is it still to be kept?), ERASE (a tombstone: sweep once more), REQUEST, and
ATTENTION. An item is in it only while something is due. A user's partition is the unit of privacy.
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
AWARD_PREFIX = "AWARD#"
ANSWER_PREFIX = "ANSWER#"
ATTENTION_PREFIX = "ATTENTION#"
REQUEST_MYDATA = "REQUEST#mydata"
GONE_PREFIX = "GONE#"
GONE_LIFT_PREFIX = "GONE#LIFT#"
GAUGES = "GAUGES"
MILESTONE_PREFIX = "MILESTONE#"
TEMPLATE_PREFIX = "TEMPLATE#"

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


def answer(update_id: int, question: str) -> str:
    """Sort key of an answer: the update that gave it, and to which question."""
    return f"{ANSWER_PREFIX}{update_id}#{question}"


def attention(update_id: int) -> str:
    """Sort key of something that a person must look at."""
    return f"{ATTENTION_PREFIX}{update_id}"


def outreach(campaign: str, period: str) -> str:
    """Sort key of an outreach: planning the same campaign and period twice meets itself."""
    return f"{OUTREACH_PREFIX}{campaign}#{period}"


def outreach_of(sk: str) -> tuple[str, str]:
    """Return (campaign, period) of an outreach's sort key; the inverse of `outreach`."""
    _, campaign, period = sk.split("#")
    return campaign, period


def award(milestone: str) -> str:
    """Sort key of an award: the milestone's name and nothing else, so that it is given once."""
    return f"{AWARD_PREFIX}{milestone}"


def statistics(bot_id: int, share: int) -> str:
    """Partition of the counters of one share [0, 16) of the users."""
    return f"STATS#{bot_id}#{share:02}"


def statistics_share(pk: str) -> int:
    """Spread users over the counters [0, 16), apart from `due_partition`: who is due together counts apart."""
    return zlib.crc32(f"STATS#{pk}#".encode()) % DUE_PARTITIONS


def day_counters(day: date) -> str:
    """Sort key of one day's counters."""
    return f"DAY#{day.isoformat()}"


def lift(experiment: str, group: str) -> str:
    """Sort key of the sums of an experiment's group: "all", or an outreach type."""
    return f"LIFT#{experiment}#{group}"


def gone_month(day: date) -> str:
    """Sort key of what erased users had moved of a month's counters."""
    return f"{GONE_PREFIX}{day:%Y-%m}"


def gone_lift(experiment: str, group: str) -> str:
    """Sort key of what erased users had moved of an experiment's sums."""
    return f"{GONE_PREFIX}{lift(experiment, group)}"


def catalogue(bot_id: int) -> str:
    """Partition of the operator's own definitions."""
    return f"CATALOGUE#{bot_id}"


def budget(what: str, day: date) -> str:
    """Sort key of what was spent of a day's budget."""
    return f"BUDGET#{what}#{day.isoformat()}"


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


def settle_shard(partition: int) -> str:
    """Index partition of the outreach whose outcomes are to be added up."""
    return f"SETTLE#{partition:02}"


def keep_shard(partition: int) -> str:
    """Index partition of the profiles of which is to be asked whether they are still to be kept."""
    return f"KEEP#{partition:02}"


def erase_shard(partition: int) -> str:
    """Index partition of the tombstones of which the user's items are to be swept away once more."""
    return f"ERASE#{partition:02}"


def request_shard(partition: int) -> str:
    """Index partition of what users asked for."""
    return f"REQUEST#{partition:02}"


def attention_shard(partition: int) -> str:
    """Index partition of what a person must look at."""
    return f"ATTENTION#{partition:02}"
