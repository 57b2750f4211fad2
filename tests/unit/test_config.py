"""loop.toml: the template is the defaults, key by key; what is wrong is named; paths become whole."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

from hotloop.config import LoopConfig, Section, check_name, load, own_table, parse, resolve
from hotloop.errors import ConfigError
from hotloop.verticals.driving.settings import DrivingConfig
from hotloop.verticals.inspection.settings import InspectionConfig, settings_of
from hotloop.verticals.vectors import VectorsConfig
from hotloop.verticals.warehouse.task import WarehouseConfig

OWN = {
    "inspection": InspectionConfig, "vectors": VectorsConfig, "warehouse": WarehouseConfig, "driving": DrivingConfig,
}  # fmt: skip
TEMPLATE = files("hotloop").joinpath("loop.toml").read_text(encoding="utf-8")


def keys_of(kind, prefix=""):
    """Each key of a record with its default, tables flattened with dots."""
    found = {}
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            found |= keys_of(field.type, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = field
    return found


def every_key():
    """The keys of the core, and those of hotloop's own verticals under their names."""
    found = {name: field for name, field in keys_of(LoopConfig).items() if name not in ("tables", "base")}
    for table, kind in OWN.items():
        found |= keys_of(kind, f"{table}.")
    return found


def keys_in(table, prefix=""):
    """The keys that a TOML table sets, tables flattened with dots."""
    found = set()
    for key, value in table.items():
        found |= keys_in(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key}
    return found


def test_the_template_parses_to_the_defaults():
    """What `hotloop init` writes changes nothing."""
    config = parse(TEMPLATE)
    assert msgspec.structs.replace(config, tables={}) == LoopConfig()
    for table, kind in OWN.items():
        assert own_table(config, table, kind) == kind()


def test_the_template_holds_every_key():
    """Each setting stands in the template, and the template has no other."""
    assert keys_in(tomllib.loads(TEMPLATE)) == set(every_key())


def test_the_template_says_the_numbers_of_the_code():
    """Each value in the template is the code's default, compared as text would be read."""
    written = tomllib.loads(TEMPLATE)
    for name, field in every_key().items():
        value = written
        for part in name.split("."):
            value = value[part]
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        assert value == (list(default) if isinstance(default, tuple) else default), name


def test_an_empty_file_is_the_defaults():
    """Nothing has to be written."""
    assert parse("") == LoopConfig()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nmae = 'x'", "nmae"),
        ("[gate]\nalpah = 0.1", "alpah"),
        ("[gate]\nalpha = '0.1'", "gate.alpha"),
        ("[gate]\nalpha = 0.0", "gate.alpha"),
        ("[gate]\nalpha = 1.0", "gate.alpha"),
        ("[gate]\ntolerance = 1.5", "gate.tolerance"),
        ("[hub]\nport = 65536", "hub.port"),
        ("[hub]\nport = 80.5", "hub.port"),
        ("[learn]\nridge = 0.0", "learn.ridge"),
        ("[store]\npending_events_max = 0", "store.pending_events_max"),
        ("base = '/'", "base"),
        ("[sense]\nline = 'a b'", "sense.line"),
        ("name = '../up'", "name"),
        ("gate = 3", "gate"),
    ],
)
def test_what_is_wrong_is_named_with_its_key_and_file(text, named):
    """An unknown key, a wrong type and a number out of bounds are each named in the error."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "plant.toml")
    assert named in str(caught.value)
    assert str(caught.value).startswith("plant.toml")


def test_text_that_is_no_toml_is_named_with_its_line():
    """A syntax error says where it is."""
    with pytest.raises(ConfigError, match=r"loop.toml is not TOML: .*line 2"):
        parse("name = 'a'\n= 3")


def test_a_number_for_seconds_may_be_whole():
    """`follow_s = 15` is as good as 15.0."""
    assert parse("[hub]\nfollow_s = 15").hub.follow_s == 15.0


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[inspection]\ntask = 'circles'", "inspection.task"),
        ("[inspection.images]\nbytes_max = -1", "inspection.images.bytes_max"),
        ("[vectors]\ncolumns = 5000", "vectors.columns"),
        ("[driving]\nfindings_max = 257", "driving.findings_max"),
        ("[driving.planner]\nheadway_s = 0.1", "driving.planner.headway_s"),
    ],
)
def test_what_is_wrong_in_a_verticals_table_is_named_by_the_vertical(text, named):
    """The core keeps the table as it is; whoever reads it says what is wrong with it."""
    table = named.split(".", maxsplit=1)[0]
    with pytest.raises(ConfigError, match=named):
        own_table(parse(text), table, OWN[table])


def test_a_vertical_has_a_table_of_its_own():
    """The core does not know its keys."""
    assert parse("[robots]\nspeed = 3").tables == {"robots": {"speed": 3}}


def test_a_missing_file_says_how_to_write_one(tmp_path):
    """The error names the path and the command."""
    with pytest.raises(ConfigError, match="hotloop init"):
        load(tmp_path / "loop.toml")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"name = '\x80'"])
def test_a_file_that_is_not_utf8_is_an_error_with_its_path(tmp_path, content):
    """Bytes that are no text do not end in a traceback."""
    path = tmp_path / "loop.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"loop.toml cannot be read"):
        load(path)


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path):
    """So does a folder of that name."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_paths_are_seen_from_the_file(tmp_path):
    """Relative folders are beside loop.toml, wherever hotloop is started."""
    path = tmp_path / "loop.toml"
    path.write_text(
        "[store]\nfolder = 'data'\n[sense]\nfolder = 'in'\nreference = '../golden.png'\n"
        "[inspection]\nlabelled = 'labels'\nstart = 'own.onnx'\n"
    )
    config = load(path)
    assert config.store.folder == str(tmp_path / "data")
    assert config.sense.folder == str(tmp_path / "in")
    assert config.sense.reference == str(tmp_path.parent / "golden.png")
    assert settings_of(config).labelled == str(tmp_path / "labels")
    assert settings_of(config).start == str(tmp_path / "own.onnx")


@pytest.mark.parametrize("start", ["boards", "none"])
def test_names_of_start_models_are_no_paths(start):
    """The words boards and none stay words."""
    config = parse(f"[inspection]\nstart = '{start}'")
    assert settings_of(resolve(config, Path("/etc"))).start == start


def test_resolving_leaves_empty_and_absolute_paths():
    """No folder stays none; an absolute path stays what it is; twice is as once."""
    config = parse("[store]\nfolder = '/var/lib/hotloop'")
    once = resolve(config, Path("/etc"))
    assert (once.sense.folder, once.sense.reference, settings_of(once).labelled) == ("", "", "")
    assert once.store.folder == "/var/lib/hotloop"
    assert resolve(once, Path("/elsewhere")) == once


@pytest.mark.parametrize("text", ["a", "line-1", "Halle_3.Band.2", "0", "x" * 64])
def test_names_that_can_be(text):
    """Letters, digits, dot, underscore and dash, up to 64."""
    assert check_name(text, "line") == text


@pytest.mark.parametrize(
    "text", ["", "-a", ".a", "a b", "a/b", "../a", "a\n", "a\x00", "x" * 65, "zeile-ü", "hub:1", " a"]
)
def test_names_that_cannot_be(text):
    """Everything that could be a path, a separator or a control character is refused, and quoted safely."""
    with pytest.raises(ConfigError, match="reviewer") as caught:
        check_name(text, "reviewer")
    assert "\n" not in str(caught.value)
    assert "\x00" not in str(caught.value)
