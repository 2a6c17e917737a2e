"""A secret is hidden in text, however a server spells it and wherever the text was cut."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from time import process_time
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_image.auth.credentials import Credentials
from registry_image.concourse.console.log import MAX_LINE, write_line
from registry_image.errors import QUOTE_LIMIT, quote
from registry_image.net.secrets import REDACTED, SECRETS, Secrets

SECRET = "hunter2+Never/shown=é"


def hidden(text: str, *secrets: str) -> str:
    known = Secrets()
    known.add(*(secrets or (SECRET,)))
    return known.hide(text)


SPELLINGS = {
    "raw": SECRET,
    "lower case": SECRET.lower(),
    "percent": quote_plus(SECRET),
    "percent, every character": "".join(f"%{byte:02x}" for byte in SECRET.encode()),
    "percent, twice": quote_plus(quote_plus(SECRET)),
    "JSON": json.dumps(SECRET)[1:-1],
    "JSON, every character": "".join(f"\\u{ord(char):04X}" for char in SECRET),
    "JSON, with a slash escaped": SECRET.replace("/", r"\/"),
    "JSON, shown by repr": repr("".join(f"\\u{ord(char):04x}" for char in SECRET)),
    "hexadecimal escapes": "".join(f"\\x{ord(char):02x}" for char in SECRET),
    "percent inside JSON": "".join(f"\\u0025{byte:02x}" for byte in SECRET.encode()),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 of a pair": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "base64 of a longer pair": base64.b64encode(f"a-user:{SECRET} and more".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(f"user1:{SECRET}".encode()).decode(),
    "base64, percent": quote_plus(base64.b64encode(SECRET.encode()).decode()),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_secret_is_hidden(spelling: str) -> None:
    shown = hidden(f"before {SPELLINGS[spelling]} after")
    assert REDACTED in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    rest = shown.removeprefix("before ").removesuffix(" after").replace(REDACTED, "")
    assert len(rest) <= (24 if spelling.startswith("base64") else 2)  # the neighbours in base64, the quotes of repr


@pytest.mark.parametrize("spelling", [name for name in SPELLINGS if not name.startswith("base64 of")])
@pytest.mark.parametrize("part", [0.3, 0.5, 0.9, 0.99])
def test_the_beginning_of_a_secret_is_hidden_where_a_text_was_cut(spelling: str, part: float) -> None:
    text = SPELLINGS[spelling]
    length = int(len(text) * part)
    shown = hidden(f"before {text[:length]}… after")
    assert REDACTED in shown
    rest = shown.removeprefix("before ").removesuffix("… after").replace(REDACTED, "")
    assert len(rest) <= 10


@pytest.mark.parametrize("left", range(4, len(SECRET)))
def test_a_quotation_that_ends_inside_a_secret_shows_no_part_of_it(left: int) -> None:
    shown = hidden(f"403 Forbidden: {quote('x' * (QUOTE_LIMIT - left) + SECRET)}")
    assert shown.endswith(f"x{REDACTED}…'")


ENTITIES: dict[str, Callable[[str], str]] = {
    "named": html.escape,
    "decimal": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "hexadecimal": lambda text: "".join(f"&#x{ord(char):X};" for char in text),
    "inside JSON": lambda text: json.dumps(html.escape(text)).replace("&", r"\u0026"),
}


@pytest.mark.parametrize("spelling", ENTITIES)
@pytest.mark.parametrize("part", [0.5, 0.9, 1.0])
def test_a_secret_is_hidden_in_html(spelling: str, part: float) -> None:
    secret = "a<b&'c\">d&amp;éf"
    text = ENTITIES[spelling](secret)
    cut = "…" if part < 1 else ""
    shown = hidden(f"before {text[: int(len(text) * part)]}{cut} after", secret)
    assert REDACTED in shown
    assert len(shown.replace(REDACTED, "")) <= len("before  after") + 10


@pytest.mark.parametrize("text", ["&unknown; &#99999999; &#x110000; &#; &", "R&D; &amp; &#65;"])
def test_entities_that_spell_no_secret_stay(text: str) -> None:
    assert hidden(text) == text


@pytest.mark.parametrize("spell", [quote, quote_plus, str.upper])
def test_a_secret_of_several_words_is_hidden(spell: Callable[[str], str]) -> None:
    shown = hidden(f"before {spell('correct horse+battery')} after", "correct horse+battery")
    assert len(shown) <= len(f"before '{REDACTED}' after")


def test_several_secrets_in_one_text_are_hidden_also_where_they_overlap() -> None:
    assert (
        hidden("a hunter2-abc b abc-hunter3", "hunter2-abc", "abc", "abc-hunter3", "2-ab")
        == f"a {REDACTED} b {REDACTED}"
    )


def test_each_line_of_a_key_is_a_secret_but_its_frame_is_none() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END PRIVATE KEY-----\n"
    assert hidden("a BgkqhkiG9w0B b -----BEGIN PRIVATE KEY-----", key) == f"a {REDACTED} b -----BEGIN PRIVATE KEY-----"


@pytest.mark.parametrize("text", ["", "manifest unknown", "50% of %zz \\ \\u12 …", "\ud800", "a" * 5000])
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert hidden(text) == text
    assert Secrets().hide(text) == text


@pytest.mark.parametrize("text", ["\\", "%25", "&#x", "&", "\\u00", "\\u005c"])
def test_many_escapes_take_time_in_proportion(text: str) -> None:
    begin = process_time()
    hidden(text * (100_000 // len(text)))
    assert process_time() - begin < 5


@pytest.mark.parametrize("token", ["x", "ab", "0123456789abcdef"])
@pytest.mark.parametrize("cut", ["…", "xx…", "xxxxx…", "ababab…"])
def test_many_cuts_take_time_in_proportion(token: str, cut: str) -> None:
    begin = process_time()
    hidden(cut * (MAX_LINE // len(cut)), token * (65_536 // len(token)), token * (4000 // len(token)))
    assert process_time() - begin < 5


def test_a_secret_of_three_characters_would_be_found_in_ordinary_words() -> None:
    assert hidden("the registry", "the") == "the registry"


def test_lines_are_written_without_the_password_of_any_credentials(capfd: pytest.CaptureFixture[str]) -> None:
    Credentials(username="user", password="hunter2-never-shown")
    write_line("no: hunter2-never-shown")
    write_line("x" * (MAX_LINE - 18) + "hunter2-never-shown")
    assert capfd.readouterr().err == f"no: {REDACTED}\n" + "x" * (MAX_LINE - 18) + f"{REDACTED}…\n"


@given(st.text(min_size=4), st.text(), st.text())
def test_no_raw_secret_survives_in_any_text(secret: str, before: str, after: str) -> None:
    known = Secrets()
    known.add(secret)
    shown = known.hide(before + secret + after)
    lines = [line for line in secret.splitlines() if len(line) >= 4 and not line.startswith("-----")]
    assert all(line not in shown.replace(REDACTED, "\0") for line in lines)


def test_the_secrets_of_this_process_are_those_of_its_credentials() -> None:
    Credentials(username="", identity_token="an-identity-token")
    assert SECRETS.hide("an-identity-token") == REDACTED
