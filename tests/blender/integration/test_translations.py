"""Everything that a user reads has its Chinese; errors that come put together are recognised by their parts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from .visible_texts import visible_texts

NAMES_OF_THINGS = {
    "ARKit", "FLAME", "LOD 0", "LOD 1", "LOD 2", "Live Link Face", "Lookalike", "PLY", "SPZ", "host:5870", "python_file",
}  # fmt: skip


@pytest.fixture
def chinese(addon, monkeypatch):
    """The translations as if Blender were switched to Chinese, which bpy modules, built without languages, cannot."""
    translations = addon.part("translations")
    known = translations.CHINESE
    interface = SimpleNamespace(locale="zh_HANS", pgettext_iface=lambda text, _context="*": known.get(text, text))
    view = SimpleNamespace(use_translate_interface=True)
    context = SimpleNamespace(preferences=SimpleNamespace(view=view))
    monkeypatch.setattr(translations, "bpy", SimpleNamespace(app=SimpleNamespace(translations=interface), context=context))
    return translations


def test_every_visible_text_is_translated(addon) -> None:
    """A new text of a panel, option, report or error needs a line in translations/chinese*.py."""
    source = Path(addon.part("translations").__file__).parents[1]
    texts = visible_texts(source)
    assert len(texts) > 600
    known = addon.part("translations").CHINESE
    missing = {text: where for text, where in texts.items() if text not in known and text not in NAMES_OF_THINGS}
    assert not missing, "\n".join(f"{where}: {text!r}" for text, where in sorted(missing.items(), key=lambda pair: pair[1]))


def test_errors_are_recognised_by_their_parts(chinese) -> None:
    explained = chinese.explained
    assert explained("Ada: is linked from another file; make a library override of it first") == "Ada：是从其他文件链接的；请先创建库重写"
    assert explained("take.csv: has 9 frames; 4 can be read; cut the take into parts") == "take.csv：有 9 帧；最多可读 4 帧；请将其分成几段"
    assert explained("“Ada take”: frames 1 to 9, 3 controls, 7 of 27 keys, error at most 0.005 and 0.10°") == (
        "“Ada take”：第 1 至 9 帧，3 个控制器，7 / 27 个关键帧，误差不超过 0.005 和 0.10°"
    )
    assert explained("something of nobody; and no remedy") == "something of nobody; and no remedy"


def test_reports_fill_their_places_after_translation(chinese) -> None:
    assert chinese.said("Keyed {count} controls at frame {frame}", count=3, frame=12) == "已为 3 个控制器在第 12 帧插入关键帧"


def test_english_stays_english(addon) -> None:
    said = addon.part("translations")
    assert said.explained("Ada: is hidden; show the armature first") == "Ada: is hidden; show the armature first"
    assert said.said("Wrote {path}", path="a.ply") == "Wrote a.ply"


def test_chinese_lines_break_between_characters_not_before_a_stop(addon) -> None:
    wrapping = addon.part("ui.wrapping")
    lines = wrapping._broken("将照片拖放到视图中，或从列表中添加同一个人的照片。", 120, 11.0)
    assert len(lines) > 1
    assert not any(line[0] in "，。" for line in lines)
