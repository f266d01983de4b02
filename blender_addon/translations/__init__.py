"""What the interface says in other languages. English is the source; a text without a translation stays English."""

from __future__ import annotations

import re
from functools import lru_cache

import bpy

from .chinese import CHINESE

_NAME = "lookalike"
CONTEXT = "Lookalike"
"""For words that Blender itself has in another sense: a Face is one of a mesh, Open is of files. Blender's own words win elsewhere."""
_TABLES = {"zh_HANS": CHINESE, "zh_CN": CHINESE}
"""Locale -> English -> translation; the second is its name up to Blender 3.x, still given by some systems."""
_JOINTS = {"zh_HANS": ("；", "："), "zh_CN": ("；", "：")}
"""How the parts of a message are joined: what is wrong; what to do. And subject: predicate."""


def table() -> dict[str, dict[tuple[str, str], str]]:
    """Locale -> (context, English) -> translation, as Blender wants it."""
    return {
        locale: {(context, text): said for text, said in texts.items() for context in ("*", "Operator", CONTEXT)}
        for locale, texts in _TABLES.items()
    }


def register() -> None:
    bpy.app.translations.register(_NAME, table())


def unregister() -> None:
    bpy.app.translations.unregister(_NAME)


def said(text: str, /, **values: object) -> str:
    """A text of ours in the interface's language, with its {places} filled after translation."""
    translated = bpy.app.translations.pgettext_iface(text, CONTEXT)
    return translated.format(**values) if values else translated


def explained(message: object) -> str:
    """A message that came put together, such as an error's, in the interface's language as far as its parts are known.

    The core and the backend know no languages: their sentences are recognised by the texts that they are made of.
    """
    locale = bpy.app.translations.locale
    if locale not in _TABLES or not bpy.context.preferences.view.use_translate_interface:
        return str(message)
    return _translated(str(message), locale)


@lru_cache(maxsize=256)
def _translated(message: str, locale: str) -> str:
    whole = _TABLES[locale].get(message) or (_part(message, locale) if "; " not in message else None)
    if whole is not None:
        return whole
    semicolon, colon = _JOINTS[locale]
    first, found, remedy = message.rpartition("; ")
    if found and (known := _part(remedy, locale)) is not None:
        return f"{_translated(first, locale)}{semicolon}{known}"
    subject, found, predicate = message.partition(": ")
    known = _part(predicate, locale) if found else None
    return message if known is None else f"{subject}{colon}{known}"


def _part(text: str, locale: str) -> str | None:
    """The translation of a sentence, the filled {places} of its template carried over; None where there is no template."""
    texts = _TABLES[locale]
    if text in texts:
        return texts[text]
    for pattern, translation in _patterns(locale):
        match = pattern.fullmatch(text)
        if match is not None:
            return translation.format(**{key: _part(value, locale) or value for key, value in match.groupdict().items()})
    return None


@lru_cache(maxsize=4)
def _patterns(locale: str) -> list[tuple[re.Pattern[str], str]]:
    """Templates as patterns, those with the longest fixed text first."""
    templates = [(english, translation) for english, translation in _TABLES[locale].items() if re.search(r"\{\w+", english)]
    templates.sort(key=lambda pair: -len(re.sub(r"\{[^}]*\}", "", pair[0])))
    return [(_pattern(english), re.sub(r"\{(\w+)[^}]*\}", r"{\1}", translation)) for english, translation in templates]


def _pattern(template: str) -> re.Pattern[str]:
    seen: set[str] = set()
    parts = []
    for fixed, name in re.findall(r"([^{]*)(?:\{(\w+)[^}]*\})?", template):
        parts.append(re.escape(fixed))
        if name:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>.+?)")
            seen.add(name)
    return re.compile("".join(parts), re.DOTALL)
