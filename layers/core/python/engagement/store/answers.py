"""Answers to our questions: put once, never changed; a redelivered update meets itself."""

from engagement.domain.answers import Answer, Said
from engagement.store import keys
from engagement.store.table import AnswerItem, translated


class Answers:
    """The ledger of what users answered. Every method may raise StoreUnavailableError."""

    def add(self, bot_id: int, user_id: int, update_id: int, answer: Answer) -> None:
        """Keep an answer; the same one again changes nothing."""
        item = AnswerItem(
            keys.user(bot_id, user_id),
            keys.answer(update_id, answer.question),
            question=answer.question,
            said=answer.said.value,
            answered_at=answer.answered_at,
            source=answer.source,
            wording=answer.wording or None,
        )
        with translated():
            item.save()

    def of_user(self, bot_id: int, user_id: int) -> tuple[Answer, ...]:
        """Return a user's answers, the oldest first."""
        with translated():
            found = AnswerItem.query(
                keys.user(bot_id, user_id), AnswerItem.sk.startswith(keys.ANSWER_PREFIX), consistent_read=True
            )
            answers = [
                Answer(
                    question=item.question,
                    said=Said(item.said),
                    answered_at=item.answered_at,
                    source=item.source,
                    wording=item.wording or "",
                )
                for item in found
            ]
        return tuple(sorted(answers, key=lambda answer: (answer.answered_at, answer.question)))
