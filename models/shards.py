"""For a bot beyond one function's memory or 15 minutes: a table export -> samples of shards -> the same training.

A job on a managed service (AWS Batch, one container a shard) runs `collect` on the files of a DynamoDB export to S3,
and one more runs `train-shards` on what those wrote. Sampling, training and judging are the trainer's own.
"""

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from engagement.domain.interaction import EngagementType, Interaction, SentimentType
from models.sample import load, merge, sample, save
from models.weekly import TASKS, train

EXPORTED = "*.json.gz"
PROFILE, TOMBSTONE, INTERACTION = "PROFILE", "ERASED", "INT#"
"""Sort keys, and how those of interactions begin."""
ROOT = Path(__file__).parent

Item = Mapping[str, Mapping[str, Any]]
"""In DynamoDB's JSON: each value below the tag of its type."""


def histories(export: Path, bot_id: int, now: datetime, *, shard: int = 0, of: int = 1) -> Iterator[list[Interaction]]:
    """Yield the interactions of one shard's users who allow training and were not erased, oldest first.

    An export may scatter one user's items over its files, so a shard's histories are held together: their number is
    chosen by memory, about 1 kB an interaction. The files are read twice: who allows it is known only at the end.

    Args:
        export: folder of the export's data files, gzip of one JSON object a line; folders in it too.
        bot_id: the bot.
        now: aware; what is to be kept no longer is left out, and so is an interaction that cannot be read.
        shard: which users, [0, of), by a hash of their partition key.
        of: number of shards.

    Raises:
        FileNotFoundError: the folder holds no data files.
        ValueError: a line is not an exported item.
    """
    prefix = f"USER#{bot_id}#"

    def of_shard() -> Iterator[tuple[str, str, Item]]:
        for item in _items(export):
            pk, sk = item["pk"]["S"], item["sk"]["S"]
            if pk.startswith(prefix) and zlib.crc32(pk.encode()) % of == shard:
                yield pk, sk, item

    allowed, erased = set(), set()
    for pk, sk, item in of_shard():
        if sk == PROFILE and item.get("consent_ml", {}).get("BOOL") is True:
            allowed.add(pk)
        elif sk == TOMBSTONE:
            erased.add(pk)
    found: defaultdict[str, list[Interaction]] = defaultdict(list)
    for pk, sk, item in of_shard():
        if pk in allowed - erased and sk.startswith(INTERACTION) and not _is_expired(item, now):
            with suppress(ValueError):
                found[pk].append(interaction_of(item))
    for pk in sorted(found):
        yield sorted(found.pop(pk), key=lambda event: (event.occurred_at, event.update_id))


def _items(export: Path) -> Iterator[Item]:
    paths = sorted(export.rglob(EXPORTED))
    if not paths:
        raise FileNotFoundError(f"{export} holds no files of a table export ({EXPORTED})")
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    item: Item = json.loads(line)["Item"]
                    yield item
                except (ValueError, KeyError, TypeError):
                    # Without its cause: that may quote the line.
                    raise ValueError(f"{path.name}, line {number} is not an item of a full table export") from None


def _is_expired(item: Item, now: datetime) -> bool:
    return "expires_on" in item and int(item["expires_on"]["N"]) <= now.timestamp()


def interaction_of(item: Item) -> Interaction:
    """Read an interaction from DynamoDB's JSON; the user's name and words stay unread.

    Raises:
        ValueError: it is not an interaction as the webhook stores it.
    """
    values = {name: _plain(value) for name, value in item.items()}
    try:
        _, bot_id, user_id = values["pk"].split("#")
        return Interaction(
            bot_id=int(bot_id),
            user_id=int(user_id),
            chat_id=int(values["chat_id"]),
            update_id=int(values["sk"].removeprefix(INTERACTION)),
            occurred_at=datetime.fromtimestamp(int(values["occurred_at"]), UTC),
            engagement_type=EngagementType(values["engagement_type"]),
            sentiment=None if values.get("sentiment") is None else float(values["sentiment"]),
            sentiment_type=SentimentType(values["sentiment_type"]),
            quality=float(values["quality"]),
            is_question=values["is_question"],
            is_greeting=values["is_greeting"],
            topics=tuple(values["topics"].split(",")) if values.get("topics") else (),
            session_id=values["session_id"],
            reply_latency_seconds=_whole(values.get("reply_latency_seconds")),
            characters=int(values["characters"]),
            edited=values["edited"],
            first_name="",
            language_code=values.get("language_code"),
            text=None,
        )
    except (KeyError, TypeError, AttributeError, OverflowError):
        # Without its cause: that may quote a value.
        raise ValueError("an interaction of the export cannot be read") from None


def _plain(value: Mapping[str, Any]) -> Any:
    (tag, content), *_ = value.items()
    return None if tag == "NULL" else content


def _whole(value: str | None) -> int | None:
    return None if value is None else int(value)


class _Time(click.ParamType[datetime]):
    """An ISO 8601 time with its offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value} is not a time such as 2026-11-22T00:00:00+00:00", param, ctx)
        if found.tzinfo is None:
            self.fail(f"{value} lacks an offset such as +00:00", param, ctx)
        return found


_NOW = click.option("--now", required=True, type=_Time(), help="Time of the export: the end of what is known.")
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--export", required=True, type=_FOLDER, help="Folder of the data files of a table export to S3.")
@click.option("--bot-id", required=True, type=int, help="Number before the colon of the bot's token.")
@click.option("--shard", default=0, type=click.IntRange(min=0), help="Which users to collect, from 0.")
@click.option("--of", default=1, type=click.IntRange(min=1), help="Number of shards.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write (.npz).")
@_NOW
def collect(export: Path, bot_id: int, shard: int, of: int, out: Path, now: datetime) -> None:
    """Sample one shard of an export's users who allow training."""
    if shard >= of:
        raise click.BadParameter(f"there are shards 0 to {of - 1}", param_hint="--shard")
    try:
        found = sample(histories(export, bot_id, now, shard=shard, of=of), now)
    except (FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    save(found, out)
    click.echo(f"{len(found.looks)} looks at {found.users} users")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--serving", default=ROOT, type=_FOLDER, help="Folder with the folders of the models that serve now.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of candidates.")
@click.option("--min-samples", default=500, type=click.IntRange(min=1), help="Fewest looks to train a model from.")
@_NOW
def train_shards(files: Sequence[Path], serving: Path, out: Path, min_samples: int, now: datetime) -> None:
    """Train and judge all models on the samples that `collect` wrote; print the verdicts as JSON, a line each."""
    try:
        found = merge([load(path) for path in files])
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    verdicts = train(
        found,
        serving={name: serving / name for name in TASKS},
        bundled={name: ROOT / name for name in TASKS},
        out=out,
        now=now,
        min_samples=min_samples,
    )
    for verdict in verdicts:
        click.echo(json.dumps(asdict(verdict), default=str))
