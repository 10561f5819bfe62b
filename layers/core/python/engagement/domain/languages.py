"""The languages that our words are in, and how a reader's is told."""

LANGUAGES = ("en", "es", "pt", "ru", "de", "fr", "id", "tr", "ar", "hi")
"""Primary subtags; every text of ours is there in each."""
FALLBACK = "en"


def primary(language_code: str | None) -> str:
    """Return the primary subtag of an IETF tag, small; English where there is none."""
    return (language_code or FALLBACK).lower().split("-")[0]
