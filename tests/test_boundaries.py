"""The map of the code: who may import whom, and who knows which outside thing. Change it on purpose only."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BOT = ROOT / "bot"

CORE = {"errors", "models", "request", "texts"}
DOCTOR = {"doctor.finding", "doctor.setup", "doctor.ask"}
EDGE = CORE | {"actions", "command", "courier", "deadline", "desk", "remembered", "store", "styles", "upload"}

LAYERS = {"layers", "layers_conv", "layers_dit", "layers_time", "layers_unet"}
KERNELS = {"kernels", "kernels_conv", "kernels_norm"}
DISCORD = {f"discord_{room}" for room in ("answers", "buttons", "commands", "forms", "http", "reply")}

# Each module, the modules of ours it may import, and the libraries of others. `bot` is the package itself.
MAP: dict[str, tuple[set[str], set[str]]] = {
    "__init__": ({"deploy"}, set()),  # for whoever asks for `bot.app`
    "german": (set(), set()),
    "texts": ({"german"}, set()),
    "errors": ({"texts"}, set()),
    "models": ({"errors", "texts"}, set()),
    "request": ({"errors", "models", "texts"}, set()),
    "styles": ({"texts"}, set()),
    "choices": (CORE, set()),
    "command": (CORE | {"choices", "styles"}, set()),
    "remembered": (CORE | {"command"}, set()),
    "recipe": (CORE, {"PIL"}),
    "png": (CORE | {"recipe"}, {"PIL", "isal", "numpy"}),
    "turns": (set(), set()),
    "store": (CORE, set()),
    "store_local": (CORE | {"recipe", "store"}, set()),
    "store_modal": (CORE | {"store"}, set()),
    "steps": (set(), set()),
    "kernels": (set(), {"torch", "triton"}),
    "kernels_conv": (set(), {"torch", "triton"}),
    "kernels_norm": (set(), {"torch", "triton"}),
    "heap": (set(), set()),
    "layers": (set(), {"torch", "diffusers"}),
    "layers_dit": ({"kernels", "layers"}, {"torch", "diffusers"}),
    "layers_time": (set(), {"torch", "diffusers"}),
    "layers_conv": ({"kernels_conv", "kernels_norm", "layers_time"}, {"torch", "diffusers"}),
    "layers_unet": ({"layers_conv"}, {"torch", "diffusers"}),
    "family": (CORE | {"steps"}, {"torch", "diffusers", "PIL"}),
    "families": (CORE | {"family"}, {"torch", "diffusers", "numpy"}),
    "fast": (
        {"families", "family", "layers", "layers_conv", "layers_dit", "layers_time", "layers_unet", "steps"},
        {"torch", "transformers"},
    ),
    "weights": (CORE, {"torch", "diffusers", "transformers"}),
    "gen": (CORE | {"heap", "png", "steps", "families", "family", "fast", "weights"}, {"torch", "transformers", "PIL"}),
    "apart": (CORE | {"gen"}, set()),
    "upload": (CORE, {"aiohttp", "PIL"}),
    "courier": (CORE | {"store", "upload"}, set()),
    "actions": (CORE | {"courier"}, set()),
    "deadline": (set(), set()),
    "desk": (CORE | {"actions", "command", "courier", "deadline", "remembered", "store"}, set()),
    "slack_blocks": (EDGE, set()),
    "slack_form": (EDGE | {"slack_blocks", "styles"}, set()),
    "slack_reply": (EDGE | {"slack_blocks", "upload"}, {"slack_sdk", "aiohttp"}),
    "slack_people": (EDGE | {"slack_reply"}, {"slack_sdk"}),
    "slack_tokens": (EDGE | {"slack_reply"}, {"slack_sdk", "aiohttp"}),
    "slack_install": (EDGE | {"slack_reply", "slack_tokens"}, {"slack_sdk", "slack_bolt", "aiohttp"}),
    "slack": (
        EDGE | {f"slack_{room}" for room in ("blocks", "form", "install", "people", "reply", "tokens")},
        {"slack_sdk", "slack_bolt", "aiohttp"},
    ),
    "discord_http": (CORE | {"deadline", "desk"}, {"discord", "aiohttp"}),
    "discord_reply": (EDGE | {"discord_http", "recipe"}, {"discord"}),
    "discord_answers": (EDGE | {"discord_http", "discord_reply"}, {"discord"}),
    "discord_forms": (EDGE | {"discord_answers", "discord_reply"}, {"discord"}),
    "discord_buttons": (EDGE | {"discord_answers", "discord_forms", "discord_reply", "recipe"}, {"discord"}),
    "discord_commands": (EDGE | {"discord_answers", "discord_buttons", "discord_forms", "discord_reply"}, {"discord"}),
    "discord": (EDGE | DISCORD, {"discord", "nacl", "aiohttp"}),
    "page": (EDGE, set()),
    "web": (EDGE | {"slack", "slack_install", "discord", "page", "bot"}, {"fastapi", "pydantic", "slack_bolt"}),
    "platforms": (CORE | {"choices", "command", "styles", "desk", "slack", "discord"}, {"aiohttp"}),
    "manifest": (CORE | {"slack", "slack_install", "discord_commands"}, {"discord", "yaml"}),
    "status": (CORE | {"store"}, {"aiohttp"}),
    "doctor.finding": (set(), set()),
    "doctor.setup": ({"doctor.finding", "slack", "discord", "status"}, {"aiohttp"}),
    "doctor.ask": ({"errors", "doctor.finding", "doctor.setup", "slack", "discord", "bot"}, {"aiohttp"}),
    "doctor.slack": (DOCTOR | {"slack", "slack_install"}, set()),
    "doctor.discord": (DOCTOR | {"discord", "manifest"}, set()),
    "doctor.places": (DOCTOR | {"doctor.slack", "doctor.discord", "status"}, set()),
    "doctor.modal": ({"doctor.finding", "doctor.setup", "slack", "discord"}, set()),
    "doctor": (DOCTOR | {"errors", "doctor.slack", "doctor.discord", "doctor.places", "doctor.modal"}, {"aiohttp"}),
    "deploy": (EDGE | {"gen", "platforms", "status", "store_modal", "weights", "web"}, {"modal", "fastapi"}),
    "local": (
        EDGE | {"apart", "gen", "platforms", "page", "store_local", "turns", "web"},
        {"uvicorn", "filelock", "platformdirs"},
    ),
    "__main__": (
        EDGE
        | {"recipe", "deploy", "doctor", "doctor.places", "gen", "local", "manifest", "platforms", "status", "store_local"},
        {"typer", "rich", "PIL"},
    ),
}
# Only these may know each outside thing, at whatever level of the map they are.
KNOWS = {
    "torch": {"gen", "weights", "families", "family", "fast", *LAYERS, *KERNELS},
    "diffusers": {"weights", "families", "family", *LAYERS},
    "transformers": {"gen", "weights", "fast"},
    "triton": KERNELS,
    "fastapi": {"web", "deploy"},
    "slack_sdk": {"slack", "slack_install", "slack_people", "slack_reply", "slack_tokens"},
    "slack_bolt": {"slack", "slack_install", "web"},
    "discord": {"discord", "manifest", *DISCORD},
    "nacl": {"discord"},
    "sqlite3": {"store_local"},
    "typer": {"__main__"},
    "yaml": {"manifest"},
    "uvicorn": {"local"},
    "modal": {"deploy"},
}
FILES = {".".join(path.relative_to(BOT).with_suffix("").parts).removesuffix(".__init__"): path for path in BOT.rglob("*.py")}


@cache
def imports(module: str) -> frozenset[str]:
    """Return the modules that a module imports anywhere in it, for types only too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name.removeprefix("bot.") in FILES else str(node.module) for name in whole)
    return frozenset(found)


def ours(module: str) -> set[str]:
    return {name.removeprefix("bot.") for name in imports(module) if name.split(".")[0] == "bot"}


def theirs(module: str) -> set[str]:
    roots = {name.split(".")[0] for name in imports(module)}
    return roots - set(sys.stdlib_module_names) - {"bot"}


def in_a_fresh_interpreter(code: str) -> object:
    command = [sys.executable, "-c", f"import json, sys\n{code}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    return json.loads(ended.stdout)


def test_every_module_is_on_the_map() -> None:
    assert FILES.keys() == MAP.keys()


@pytest.mark.parametrize("module", MAP)
def test_a_module_imports_what_the_map_lets_it(module: str) -> None:
    own, other = MAP[module]
    assert ours(module) <= own
    assert theirs(module) <= other


@pytest.mark.parametrize("library", KNOWS)
def test_an_outside_thing_is_known_where_it_belongs(library: str) -> None:
    assert {module for module in FILES if library in {name.split(".")[0] for name in imports(module)}} <= KNOWS[library]


def test_the_map_has_no_way_back_up() -> None:
    below: dict[str, set[str]] = {}
    while left := MAP.keys() - below.keys():
        ready = {module for module in left if (MAP[module][0] - {"bot"}) <= below.keys()}
        assert ready, f"these go round in a circle: {sorted(left)}"
        below |= {module: MAP[module][0] for module in ready}


@pytest.mark.parametrize("module", MAP)
def test_imports_are_absolute(module: str) -> None:
    tree = ast.walk(ast.parse(FILES[module].read_text("utf-8")))
    assert [node.lineno for node in tree if isinstance(node, ast.ImportFrom) and node.level] == []


@pytest.mark.parametrize("module", ["web", "slack", "discord", "page", "courier", "command"])
def test_the_doors_open_without_what_draws(module: str) -> None:
    heavy = in_a_fresh_interpreter(
        f"import bot.{module}\n"
        "print(json.dumps(sorted({'torch', 'diffusers', 'transformers', 'modal', 'PIL', 'numpy'} & sys.modules.keys())))"
    )
    assert heavy == []


@pytest.mark.parametrize("library", ["discord", "slack_sdk", "slack_bolt"])
def test_a_library_is_imported_from_where_libraries_are_even_beside_a_module_of_its_name(library: str) -> None:
    where = in_a_fresh_interpreter(f"import bot.discord, bot.slack, {library}\nprint(json.dumps({library}.__file__))")
    assert isinstance(where, str)
    assert BOT not in Path(where).parents
    assert ROOT not in Path(where).parents or ".venv" in where


def test_no_folder_with_modules_of_ours_is_searched_for_libraries() -> None:
    assert not [path for path in sys.path if Path(path or ".").resolve() == BOT]
