"""What users read: every text filled in, escaped, and the same for a user whenever it is asked for."""

import string
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engagement.domain.outreach import OutreachType
from engagement.domain.templates import BY_NAME, TEXT_LIMIT, VARIANTS, Template, choose, plain, render
from infra.local.telegram.entities import parse_html

WRITTEN = (OutreachType.RE_ENGAGEMENT, OutreachType.PERSONALIZED_CHECKIN)
INVISIBLE_LETTERS = "\u115f\u1160\u3164\uffa0"
names = st.sampled_from(sorted(BY_NAME))


@pytest.mark.parametrize("outreach_type", WRITTEN)
def test_each_type_has_at_least_two_variants_that_differ(outreach_type: OutreachType) -> None:
    variants = VARIANTS[outreach_type]
    assert len(variants) >= 2
    assert len({variant.text for variant in variants}) == len(variants)
    assert all(variant.name.startswith(f"{outreach_type}.") for variant in variants)


def test_template_names_are_unique() -> None:
    assert len(BY_NAME) == sum(len(variants) for variants in VARIANTS.values())


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_a_text_is_short_and_warm_and_names_its_reader(name: str) -> None:
    text = render(name, "Ada")
    assert "Ada" in text
    assert 40 <= len(text) <= 300
    assert set(text) <= set(string.printable)


@pytest.mark.parametrize("name", sorted(BY_NAME))
@pytest.mark.parametrize("first_name", ["", " ", "\t\n", "\u200b\u200d", "\u3164", "\u202e", "\ud800", "\u2800\u2800"])
def test_a_blank_name_leaves_no_gap(name: str, first_name: str) -> None:
    """An "invisible name" is no name: the greeting stands without it."""
    text = render(name, first_name)
    assert text == render(name, "")
    assert text.startswith(("Hi!", "Hi,", "Hello!", "Hello,"))
    assert "  " not in text


@given(name=names, first_name=st.text(max_size=100))
@example(name="re_engagement.open_door", first_name="<b>&\"'")
@example(name="re_engagement.open_door", first_name="abdo <")
@example(name="re_engagement.open_door", first_name="{name}{0}{}")
@example(name="re_engagement.open_door", first_name="محمد")
@example(name="re_engagement.open_door", first_name="👍🏽👨‍👩‍👧")
@example(name="re_engagement.open_door", first_name="a\u202eb")
@example(name="re_engagement.open_door", first_name="&lt;&amp;#60;")
@example(name="re_engagement.open_door", first_name="x" * 200)
def test_any_name_is_escaped_and_reads_as_it_is_written(name: str, first_name: str) -> None:
    """R55, R56: Telegram's parser accepts it, shows the name itself, adds no entity, and it fits."""
    markup = render(name, first_name)
    parsed = parse_html(markup)
    assert parsed.entities == ()
    assert 0 < len(parsed.text) <= TEXT_LIMIT
    assert len(markup.encode()) <= 32_768
    visible = Counter(c for c in " ".join(first_name.split())[:64] if c.isalnum() and c not in INVISIBLE_LETTERS)
    assert visible <= Counter(parsed.text)
    # What is around the name is the template, filled and otherwise untouched.
    before, _, after = BY_NAME[name].text.partition("{name}")
    assert parsed.text.startswith(before)
    assert parsed.text.endswith(after)
    assert "{" not in before + after


@given(name=names, first_name=st.text(max_size=70))
def test_as_plain_text_the_reader_sees_the_same(name: str, first_name: str) -> None:
    """R49: the second attempt, without markup."""
    markup = render(name, first_name)
    before, _, after = BY_NAME[name].text.partition("{name}")
    assert plain(markup).startswith(before)
    assert plain(markup).endswith(after)
    assert "&lt;" not in plain(render(name, "<"))


def test_plain_text_has_no_tags() -> None:
    assert plain("<b>Hi</b> A&amp;B &lt;3") == "Hi A&B <3"


def test_a_right_to_left_name_keeps_the_punctuation_after_it() -> None:
    """R55: isolated, it cannot drag its surroundings along."""
    assert "Hi \u2068\u05d0\u05d1\u2069!" in render("re_engagement.open_door", "\u05d0\u05d1")


@given(st.sampled_from(WRITTEN), st.integers(1, 2**52), st.integers(1, 53))
def test_the_choice_is_sticky(outreach_type: OutreachType, user_id: int, week: int) -> None:
    period = f"2026-W{week:02}"
    assert choose(outreach_type, user_id, period) == choose(outreach_type, user_id, period)


def test_the_choice_is_golden() -> None:
    """R43: the same arm in every run and after every deployment."""
    letter = {"re_engagement.open_door": "a", "re_engagement.where_we_left": "b"}
    chosen = (letter[choose(OutreachType.RE_ENGAGEMENT, user, "2026-W47")] for user in range(1, 25))
    assert "".join(chosen) == "baaaaaababbaabbbbbababbb"


@pytest.mark.parametrize("outreach_type", WRITTEN)
def test_the_variants_share_the_users_evenly_and_independently_of_the_period(outreach_type: OutreachType) -> None:
    first = [choose(outreach_type, user, "2026-W47") for user in range(4_000)]
    second = [choose(outreach_type, user, "2026-W48") for user in range(4_000)]
    for name, count in Counter(first).items():
        assert abs(count - 2_000) < 200, name
    assert abs(sum(a == b for a, b in zip(first, second, strict=True)) - 2_000) < 200


def test_a_type_without_texts_says_so() -> None:
    with pytest.raises(KeyError):
        choose(OutreachType.MOOD_SUPPORT, 1, "2026-W47")


def test_a_withdrawn_template_says_so() -> None:
    with pytest.raises(KeyError):
        render("re_engagement.withdrawn", "Ada")


@pytest.mark.parametrize("text", ["Hello!", "Hi {name} {surname}", "Hi {}", "{name}" + "x" * TEXT_LIMIT, "Hi {name"])
def test_a_template_that_could_go_wrong_cannot_be_made(text: str) -> None:
    """R56: found when the module is imported, not when a message is sent."""
    with pytest.raises(ValueError, match=r"template|expected"):
        Template("re_engagement.bad", text)
