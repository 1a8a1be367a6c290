"""From text to a document: YAML as YAML 1.2 has it, lines kept, and one line for what cannot be read."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topology.sound import EVERYTHING, SOUND
from weft.topology.errors import WeftError
from weft.topology.load import document, load, load_fabric, loads
from weft.topology.model import Fabric
from weft.topology.resolve import resolve
from weft.topology.yaml12 import parse


def refusal(text: str) -> tuple[str, ...]:
    with pytest.raises(WeftError) as caught:
        resolve(loads(text, "shop.yaml"))
    return caught.value.lines


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("true", True), ("FALSE", False), ("~", None), ("", None), ("null", None),
        ("012", 12), ("0o14", 12), ("0x1F", 31), ("-3", -3), ("1_000", "1_000"), ("12:30:45", "12:30:45"), ("2026-12-01", "2026-12-01"),
        ("1.5", 1.5), ("1e3", 1000.0), ("-.inf", float("-inf")), (".", "."), ("52:54:00:00:09:05", "52:54:00:00:09:05"),
        ("'5'", "5"), ("!!str 5", "5"), ("10.0.9.0/24", "10.0.9.0/24"),
    ],
)  # fmt: skip
def test_scalars_are_read_as_the_core_schema_has_them(text, value):
    assert parse(f"key: {text}", "f").data == {"key": value}


def test_every_node_has_its_line():
    lines = parse("a:\n  b:\n    - c\n    - d: 1\n      e: 2\n", "f").lines
    assert lines == {("a",): 1, ("a", "b"): 2, ("a", "b", 0): 3, ("a", "b", 1): 4, ("a", "b", 1, "d"): 4, ("a", "b", 1, "e"): 5}


def test_a_thing_said_once_and_used_twice_is_fine():
    wires = "{physnet: {nics: [ens1]}}"
    text = SOUND.replace(wires, f"&wires {wires}", 1).replace(f"{wires}}}\nseg", "*wires}\nseg")
    assert resolve(loads(text, "shop.yaml")).hosts["kvm2"].uplinks["physnet"].nics == ("ens1",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", 'shop.yaml: empty: a fabric file begins with "fabric: NAME"'),
        ("# nothing\n", 'shop.yaml: empty: a fabric file begins with "fabric: NAME"'),
        ("- a\n", 'shop.yaml:1: not a map: a fabric file begins with "fabric: NAME"'),
        ("fabric: shop\n\thosts: {}\n", "shop.yaml:2: not YAML: a tab, where YAML wants spaces"),
        ("fabric: a: b\n", "shop.yaml:1: not YAML: mapping values are not allowed in this context"),
        ("fabric: {a\n", "shop.yaml:2: not YAML: did not find expected ',' or '}' (look at the indentation and the brackets)"),
        ("--- {}\n--- {}\n", "shop.yaml:2: not YAML: a second document begins here, a fabric file is one"),
        ("fabric: \x00\n", "shop.yaml: not YAML: control characters are not allowed"),
        ("fabric: " + "[" * 100_000, "shop.yaml:1: more than 100 levels deep"),
        ("fabric:\n  " + "- " * 100_000, "shop.yaml:2: more than 100 levels deep"),
    ],
)
def test_what_is_not_a_fabric_file_gets_one_line(text, said):
    assert refusal(text) == (said,)


def test_recursion_tags_and_strange_keys_are_refused():
    assert "shop.yaml:1: aliases make this endless" in refusal("fabric: &a [*a]\n")
    assert 'shop.yaml:1: tags such as "!!int" are not used here' in refusal("fabric: !!int 5\n")
    assert "shop.yaml:2: a key is a word, not a list or a map" in refusal("fabric: shop\n? [a]\n: b\n")


def test_aliases_of_aliases_do_not_eat_the_memory():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    assert any("aliases make this endless" in line for line in refusal(bomb))


def test_a_file_that_cannot_be_read_gets_one_line_with_its_name_as_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"fabric: shop\n# caf\xe9\n")
    for path, said in (
        ("gone.yaml", "gone.yaml: no such file or directory"),
        (".", ".: is a directory"),
        ("./latin.yaml", "./latin.yaml:2: not UTF-8"),
    ):
        with pytest.raises(WeftError) as caught:
            load(path)
        assert caught.value.lines == (said,)


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "shop.yaml"
    path.write_text("\ufeff" + SOUND, encoding="utf-8")
    assert load_fabric(str(path)).name == "shop"


def test_sections_that_are_commented_out_below_their_key_are_not_there():
    assert resolve(loads("fabric: shop\nguests:\npolicies:\n", "f")).guests == {}


def test_a_host_needs_no_key():
    assert resolve(loads("fabric: shop\nhosts:\n  kvm1:\n", "f")).hosts["kvm1"].bridge == "br-weft"


def test_the_same_file_gives_an_equal_fabric_whatever_lines_stand_above():
    one = resolve(loads(EVERYTHING.split("policies")[0], "f"))
    other = resolve(loads("# more\n\n" + EVERYTHING.split("policies")[0], "g"))
    assert one == other
    assert (one.segments["db"].source.line, other.segments["db"].source.line) == (9, 11)


WORDS = re.findall(r"[A-Za-z0-9./:-]+|[\[\]{},]", EVERYTHING)


def spoil(text: str, seed: int, times: int) -> str:
    """A few pieces of a text replaced, dropped, doubled or swapped."""
    rng = random.Random(seed)
    for _ in range(times):
        start = rng.randrange(len(text))
        end = min(len(text), start + rng.choice((0, 1, 1, 2, 5, 12, 40)))
        piece = rng.choice((rng.choice(WORDS), "", text[start:end] * 2, rng.choice("\t\n:{}[]#&*!|>'\"%@`\x85 -?~"), "null", "5000", "{}", "[]"))
        text = text[:start] + piece + text[end:]
    return text


@settings(max_examples=400)
@given(st.integers(0, 2**32), st.integers(1, 6), st.sampled_from([SOUND, EVERYTHING]), st.booleans())
def test_whatever_is_typed_gives_a_fabric_or_lines_and_never_a_traceback(seed, times, text, lab):
    try:
        made = resolve(loads(spoil(text, seed, times), "f"), lab)
    except WeftError as error:
        assert error.lines
        for line in error.lines:
            assert re.match(r"f(:\d+)?: ", line)
            assert "\n" not in line
            assert "Input should" not in line
            assert "cannot be used" not in line
    else:
        assert isinstance(made, Fabric)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 70000), st.floats(), st.sampled_from(["", "db", "10.0.9.9", "fd00::1/64", "5", "é\n"])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["segment", "vf", "x", "5"]), inner, max_size=2)),
    max_leaves=4,
)


def places(data: object, path: tuple = ()) -> list[tuple]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


@settings(max_examples=400)
@given(st.data())
def test_any_value_in_any_place_gives_a_fabric_or_lines(data):
    tree = parse(EVERYTHING, "f")
    *above, last = data.draw(st.sampled_from(places(tree.data)[1:]))
    at = tree.data
    for step in above:
        at = at[step]
    at[last] = data.draw(VALUES)
    try:
        resolve(document("f", tree))
    except WeftError as error:
        assert all(re.fullmatch(r"f:\d+: .+", line) and "cannot be used" not in line for line in error.lines)
