"""What `modal deploy -m bot` asks of Modal: the real command line, against a stand-in of the servers that it talks to."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import modal
import pytest
from grpclib.exceptions import StreamTerminatedError
from modal._runtime.gpu_memory_snapshot import SNAPSHOT_RESTORE_FAILED_EXIT_CODE
from modal_proto import api_pb2 as pb
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bot
from bot import deadline, deploy
from bot.discord_http import IN_TIME
from bot.errors import Cancelled, NotTaken, Told, TooLarge, Unsure
from bot.models import ROWS, SKETCH
from bot.request import Event, Finished, ImageRequest, Job, Queued, Started, Waking, compose
from bot.store_modal import ModalStore
from tests.conftest import until
from tests.fakes.modal import ModalServer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Mapping, Sequence

ROOT = Path(__file__).parent.parent
SECRETS = {"imagine-chat": dict.fromkeys(deploy.CHAT, "x")}
pytestmark = pytest.mark.filterwarnings("ignore:.* is executing locally")  # which is what some tests are here for
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@dataclass
class Deployment:
    """How the command ended, what it said, and what it asked for."""

    status: int
    said: str
    server: ModalServer

    def function(self, name: str) -> Any:
        return self.server.functions[name][0]

    def secrets(self, name: str) -> list[str]:
        return [self.server.names[id_] for id_ in self.function(name).secret_ids]

    def takes(self, name: str) -> tuple[str, list[str], list[str], int]:
        """Return the image, the secrets and the volumes, and how many things a container is handed in all."""
        function = self.function(name)
        volumes = [mount.volume_id for mount in function.volume_mounts]
        return function.image_id, list(function.secret_ids), volumes, len(function.object_dependencies)

    def mount(self, name: str, volume: str) -> Any:
        """Return where a function has a Volume, and how."""
        (found,) = [each for each in self.function(name).volume_mounts if self.server.names[each.volume_id] == volume]
        return found

    def lines(self, name: str) -> str:
        return "\n".join(self.server.layers(self.function(name).image_id))


def deployed(
    home: Path,
    secrets: Mapping[str, Mapping[str, str]] = SECRETS,
    environ: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> Deployment:
    async def deploy_it() -> Deployment:
        async with ModalServer(secrets) as server:
            return Deployment(*await server.cli("deploy", "-m", "bot", cwd=cwd, home=home, **(environ or {})), server)

    return asyncio.run(deploy_it())


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return deployed(tmp_path_factory.mktemp("home"))


FUNCTIONS = ["Courier.*", "Generator.*", "SmallGenerator.*", "fetch", "remind", "sweep", "tell_discord", "web"]
WITH_CHAT = ["Courier.*", "tell_discord", "web"]
GENERATORS = ["Generator.*", "SmallGenerator.*"]
WITH_DIFFUSERS = [*GENERATORS, "fetch"]


def test_the_one_command_deploys_the_bot(deployment: Deployment) -> None:
    assert deployment.status == 0, deployment.said
    assert deployment.server.published == [deploy.NAME]
    assert sorted(deployment.server.functions) == FUNCTIONS
    assert deployment.server.classes == ["Courier", "Generator", "SmallGenerator"]


def test_it_says_where_the_doors_are(deployment: Deployment) -> None:
    assert "https://someone--imagine-web.modal.example" in deployment.said


def test_the_doors_are_always_open_and_wide(deployment: Deployment) -> None:
    web = deployment.function("web")
    assert web.webhook_config.type
    assert not web.webhook_config.requires_proxy_auth  # the platforms sign, and have no other key
    assert web.autoscaler_settings.min_containers == 1
    assert web.max_concurrent_inputs >= 100
    assert web.checkpointing_enabled
    assert not web.resources.gpu_config.count


def test_a_courier_outlasts_the_longest_drawing_and_is_sent_again(deployment: Deployment) -> None:
    courier = deployment.function("Courier.*")
    for generator in map(deployment.function, GENERATORS):
        assert courier.timeout_secs > 2 * (generator.timeout_secs + generator.startup_timeout_secs)
        assert not generator.retry_policy.retries  # the courier calls again, and says so
    assert courier.retry_policy.retries
    assert courier.max_concurrent_inputs >= 100
    assert not courier.resources.gpu_config.count


def test_somebody_looks_every_other_minute_for_what_nobody_carries(deployment: Deployment) -> None:
    sweep = deployment.function("sweep")
    assert sweep.schedule.period.minutes == 2
    assert sweep.autoscaler_settings.max_containers == 1
    assert sweep.autoscaler_settings.scaledown_window == 2  # it is paid for as long as it is up


def test_what_is_kept_for_good_is_read_every_day(deployment: Deployment) -> None:
    assert deployment.function("remind").schedule.cron.cron_string == "0 4 * * *"  # Modal forgets after seven days without


@pytest.mark.parametrize("model", ROWS)
def test_every_model_has_its_gpus_the_best_first(deployment: Deployment, model: str) -> None:
    ranked = deployment.server.functions[f"{deploy.GENERATORS[ROWS[model].gpu]}.*"]
    assert tuple(function.resources.gpu_config.gpu_type for function in ranked) == ROWS[model].gpu
    assert len(ranked) > 1  # somewhere to go where the best is sold out
    assert {function.resources.gpu_config.count for function in ranked} == {1}  # a snapshot holds one GPU


@pytest.mark.parametrize("name", GENERATORS)
def test_a_model_is_a_parameter_so_that_each_has_containers_of_its_own(deployment: Deployment, name: str) -> None:
    generator = deployment.function(name)
    assert [each.name for each in generator.class_parameter_info.schema] == ["model"]
    assert generator.method_definitions.keys() == {"generate"}
    assert (generator.target_concurrent_inputs, generator.max_concurrent_inputs) == (deploy.ABREAST, deploy.DRAWINGS)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_costs_nothing_while_nobody_draws_and_never_without_bound(deployment: Deployment, name: str) -> None:
    scaling = deployment.function(name).autoscaler_settings
    assert (scaling.min_containers, scaling.buffer_containers) == (deploy.WARM, deploy.SPARE) == (0, 0)
    assert (scaling.max_containers, scaling.scaledown_window) == (deploy.MOST_GPUS, deploy.IDLE)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_is_restored_from_a_snapshot_of_its_gpu(deployment: Deployment, name: str) -> None:
    generator = deployment.function(name)
    assert generator.checkpointing_enabled
    assert dict(generator.experimental_options) == {"enable_gpu_snapshot": "True"}


CHANGED = {  # what an admin changes in bot/deploy.py
    "GPU_SNAPSHOT: Final = True": "GPU_SNAPSHOT: Final = False",
    "WARM: Final = 0": "WARM: Final = 1",
    "SPARE: Final = 0": "SPARE: Final = 2",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy with other constants."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "bot", copy / "bot", ignore=shutil.ignore_patterns("sketch", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    file = copy / "bot" / "deploy.py"
    text = file.read_text("utf-8")
    for old, new in CHANGED.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    file.write_text(text, "utf-8")
    return copy


@pytest.fixture(scope="module")
def changed(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return deployed(tmp_path_factory.mktemp("home"), cwd=copy)


@pytest.mark.parametrize("name", GENERATORS)
def test_without_snapshots_each_container_loads_for_itself(changed: Deployment, deployment: Deployment, name: str) -> None:
    assert changed.status == 0, changed.said
    generator, usual = changed.function(name), deployment.function(name)
    assert not generator.checkpointing_enabled
    assert not generator.experimental_options
    assert generator.startup_timeout_secs == usual.startup_timeout_secs  # nothing else is another
    assert changed.function("web").checkpointing_enabled  # this has no GPU, and goes on as before


STARTED = """
import sys, threading
from types import SimpleNamespace
from bot import deploy
from bot.request import Finished, compose

class Model:
    def __init__(self, row):
        print("loaded", row.name, flush=True)
    def warm(self): ...
    def rest(self): ...
    def check(self):
        {check}
    def generate(self, request, **more):
        yield Finished((), 1.0)

sys.modules["bot.gen"] = SimpleNamespace(Generator=Model)
deploy.compiled = SimpleNamespace(commit=lambda: None)
deploy.COMPUTING = 0.2
print(*deploy.pool("sketch").generate.local(compose("a fox", model="sketch")))
"""
SOUND, BROKEN_GPU, SILENT_GPU = "pass", "raise RuntimeError('CUDA error: launch failure')", "threading.Event().wait()"


def started(cwd: Path, check: str) -> subprocess.CompletedProcess[str]:
    """Start a container of a generator as Modal does, and have it draw."""
    command = [sys.executable, "-c", STARTED.format(check=check)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_container_loads_once_and_draws(copy: Path, snapshot: bool) -> None:
    container = started(ROOT if snapshot else copy, SOUND)
    assert container.returncode == 0, container.stderr
    assert container.stdout == f"loaded sketch\n{DONE}\n"


@pytest.mark.parametrize("snapshot", [True, False])
@pytest.mark.parametrize("check", [BROKEN_GPU, SILENT_GPU])
def test_a_container_whose_gpu_came_back_broken_ends_before_it_draws(copy: Path, snapshot: bool, check: str) -> None:
    container = started(ROOT if snapshot else copy, check)
    assert container.returncode == SNAPSHOT_RESTORE_FAILED_EXIT_CODE  # by which Modal knows to start one without
    assert container.stdout == "loaded sketch\n"
    assert "the GPU does not compute" in container.stderr


@pytest.mark.parametrize("name", GENERATORS)
def test_a_gpu_is_kept_awake_where_the_constants_say_so(changed: Deployment, name: str) -> None:
    scaling = changed.function(name).autoscaler_settings
    assert (scaling.min_containers, scaling.buffer_containers) == (1, 2)


def test_weights_are_written_by_one_container_and_only_read_by_all_others(deployment: Deployment) -> None:
    mounts = {name: deployment.mount(name, "imagine-weights") for name in WITH_DIFFUSERS}
    assert {name: mount.read_only for name, mount in mounts.items()} == dict.fromkeys(GENERATORS, True) | {"fetch": False}
    assert deployment.function("fetch").autoscaler_settings.max_containers == 1
    assert deployment.function("fetch").max_concurrent_inputs == 0
    for name, mount in mounts.items():
        offline = f"ENV HF_HUB_OFFLINE={int(name in GENERATORS)}"
        lines = deployment.lines(name).splitlines()
        assert f"ENV HF_HUB_CACHE={mount.mount_path}" in lines
        assert [line for line in lines if "OFFLINE" in line][-1] == offline


def test_chat_has_one_secret_with_every_key_and_the_gpu_has_none(deployment: Deployment) -> None:
    assert sorted(deployment.server.required["imagine-chat"]) == sorted(deploy.CHAT)
    assert {name: deployment.secrets(name) for name in FUNCTIONS} == {
        name: ["imagine-chat"] if name in WITH_CHAT else [] for name in FUNCTIONS
    }


def test_each_image_has_what_pyproject_lists_for_it_and_no_more(deployment: Deployment) -> None:
    for name in FUNCTIONS:
        extra = name in WITH_DIFFUSERS
        listed = PROJECT["optional-dependencies"]["gpu"] if extra else PROJECT["dependencies"]
        lines = deployment.lines(name)
        assert all(requirement in lines for requirement in listed)
        assert ("torch" in lines) is extra
        assert ("g++" in lines) is extra  # which torch.compile needs
        assert ("slack" in lines) is not extra


def test_every_container_is_told_what_is_offered(deployment: Deployment) -> None:
    for name in FUNCTIONS:
        assert f"ENV IMAGINE_MODELS={','.join(deploy.OFFERED)}" in deployment.lines(name)


def test_the_package_goes_along_whole_and_nothing_else(deployment: Deployment) -> None:
    files = {file for names in deployment.server.files.values() for file in names if file.startswith("/root/")}
    assert {"/root/bot/__init__.py", "/root/bot/deploy.py", "/root/bot/sketch/model_index.json"} <= files
    assert {Path(file).parts[2] for file in files} == {"bot"}


@pytest.mark.parametrize("lacking", [*deploy.CHAT, "imagine-chat"])
def test_a_secret_that_is_not_there_is_named_before_anything_is_deployed(tmp_path: Path, lacking: str) -> None:
    keys = {key: "x" for key in deploy.CHAT if key != lacking}
    failed = deployed(tmp_path, {} if lacking == "imagine-chat" else {"imagine-chat": keys})
    assert failed.status == 1
    assert lacking in failed.said
    assert not failed.server.published


@pytest.mark.parametrize("environ", [{}, {"IMAGINE_MODELS": "sdxl", "HF_TOKEN": "hf_x", "SLACK_BOT_TOKEN": "xoxb-x"}])
def test_who_deploys_makes_no_difference(tmp_path: Path, deployment: Deployment, environ: dict[str, str]) -> None:
    again = deployed(tmp_path, environ=environ)
    assert again.status == 0, again.said
    assert {name: again.takes(name) for name in FUNCTIONS} == {name: deployment.takes(name) for name in FUNCTIONS}


def test_the_default_may_be_used_by_anybody_and_is_there_without_a_token() -> None:
    default = ROWS[deploy.OFFERED[0]]
    assert default.licence == "Apache-2.0"
    assert not default.gated


def test_no_container_repeats_the_chance_of_the_snapshot_that_it_came_out_of() -> None:
    called = {name for file in (ROOT / "bot").rglob("*.py") for name in re.findall(r"\brandom\.(\w+)", file.read_text("utf-8"))}
    assert called <= {"Random", "SystemRandom"}  # one has the seed of a request, the other no state


def test_everything_that_is_offered_is_in_the_table() -> None:
    assert set(deploy.OFFERED) <= ROWS.keys()


def installed_by(requirements: Iterable[str]) -> set[str]:
    """Return the distributions that come with what is listed."""
    found: set[str] = set()
    ahead = list(requirements)
    while ahead:
        wanted = Requirement(ahead.pop())
        name = canonicalize_name(wanted.name)
        if name in found or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        with suppress(metadata.PackageNotFoundError):
            ahead += metadata.requires(name) or []
            found.add(name)
    return found


def in_memory(code: str) -> set[str]:
    """Run this in a process of its own; return the modules that it then has in memory."""
    command = [sys.executable, "-c", f"{code}\nimport json, sys; print(json.dumps([*sys.modules]))"]
    return set(json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout))  # noqa: S603


def in_a_container(requirements: Iterable[str], code: str) -> set[str]:
    """Run this where nothing is installed but what an image has, and what Modal's own client brings along."""
    own = installed_by(requirements)
    clients = {name.partition(".")[0] for name in in_memory("import modal.experimental, modal._container_entrypoint")}
    absent = {
        name
        for name, distributions in metadata.packages_distributions().items()
        if name not in clients | {"bot"} and own.isdisjoint(map(canonicalize_name, distributions))
    }
    assert "pytest" in absent
    return in_memory(f"""
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = staticmethod(lambda name, *more: None if name.partition(".")[0] in {absent!r} else find(name, *more))
{code}
""")


def test_the_doors_and_the_courier_need_nothing_but_what_their_image_has() -> None:
    loaded = in_a_container(PROJECT["dependencies"], "import bot.deploy")
    assert {"bot.web", "bot.courier", "bot.platforms", "bot.store_modal"} <= loaded


def test_the_generator_needs_nothing_but_what_its_image_has() -> None:
    loaded = in_a_container(PROJECT["optional-dependencies"]["gpu"], "import bot.deploy; from bot import gen")
    assert {"bot.deploy", "bot.gen", "torch"} <= loaded
    assert not loaded & {"fastapi", "slack_bolt", "slack_sdk", "discord", "nacl"}


def test_nobody_but_modal_imports_modal() -> None:
    code = "import sys, bot, bot.web, bot.platforms, bot.store_local, bot.store_modal, bot.local; print('modal' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "False\n"  # noqa: S603


def test_the_app_is_found_where_modal_looks_for_it() -> None:
    assert bot.app is deploy.app
    with pytest.raises(AttributeError, match="has no attribute 'application'"):
        _ = bot.application


def stored(client: modal.Client) -> ModalStore:
    """Return what containers have written down."""
    jobs, waiting = (
        modal.Dict.from_name(f"imagine-{name}", create_if_missing=True, client=client) for name in ("jobs", "waiting")
    )
    return ModalStore(jobs, None, waiting, None)


HAND_IN = """
import asyncio, json, logging, os, time
from bot import deadline, deploy, desk
from bot.desk import Caller
from bot.errors import Told

logging.disable()
caller = Caller(claim="slack:T1:1.2", platform="slack", person="slack:T1:U1", reply_to={}, language="en")
haste = float(os.environ["HASTE"])
for room, name in ((deadline, "DOING"), (deadline, "TAKEN_BACK"), (desk, "HAND_OVER"), (desk, "TAKE_BACK")):
    setattr(room, name, getattr(room, name) / haste)

async def main():
    doors = deploy._desk()
    begun = time.monotonic()
    deadline.begin()
    try:
        await doors.order("a fox", caller)
    except Told as refused:
        return str(refused), time.monotonic() - begun

print(json.dumps(asyncio.run(main())))
"""


async def handed_in(environ: Mapping[str, str], *, haste: float) -> tuple[str, float]:
    """Have the doors take an order, where it cannot be taken; return what the person reads, and after how long.

    They wait so many times shorter than usual: this machine may be too busy for anything that takes seconds.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HAND_IN), cwd=ROOT, env={**environ, "HASTE": f"{haste}"}, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    words, seconds = json.loads(said)
    return words, seconds


async def test_a_job_that_no_courier_takes_is_not_promised_and_is_never_carried(tmp_path: Path) -> None:
    async with ModalServer(SECRETS) as server, server.client() as client:  # it keeps dictionaries, and calls no functions
        words, _ = await handed_in(server.environment(tmp_path), haste=0.02)
        store = stored(client)
        again = Job(
            claim="slack:T1:1.2", request=compose("a fox", model="sketch"), platform="slack", person="slack:T1:U1", reply_to={}
        )
        first = await store.claim(again)
        record = await store.record(first.id)
    assert first.id != again.id
    assert words == str(NotTaken())
    assert record
    assert record.outcome == "not taken"


async def test_where_modal_does_not_answer_the_person_is_told_so_in_time(tmp_path: Path) -> None:
    released = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as silent, ModalServer() as server:
        url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        words, seconds = await handed_in(server.environment(tmp_path) | {"MODAL_SERVER_URL": url}, haste=5)
        released.set()
    assert words == str(Unsure())  # what has no answer may have been heard
    assert seconds < IN_TIME
    assert deadline.DOING < deadline.TAKEN_BACK < deadline.ANSWERED < IN_TIME < 3


OPENED = """
import asyncio
from bot import deploy

async def main():
    async with deploy._parts() as parts:
        print(parts.health())

asyncio.run(main())
"""


async def test_the_admin_can_read_in_the_log_what_is_wrong_with_their_settings() -> None:
    environ = {**os.environ, "MODAL_TOKEN_ID": "", "IMAGINE_STYLES": "brand 1!: in navy"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OPENED), cwd=ROOT, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complained = await process.communicate()
    assert b"IMAGINE_STYLES: the style" in complained
    assert b"platforms" in said


SWEEP = """
import asyncio, json, logging, os
from bot import deploy
from bot.store_modal import ModalStore

logging.disable()
handed_over = []

async def hand_over(job):
    handed_over.append(job.id)

claimed = ModalStore.claim

async def claim(store, job):
    if "BEGINS" in os.environ:
        await deploy.carriers.put.aio(job.id, os.environ["BEGINS"])
    return await claimed(store, job)

deploy._hand_over, ModalStore.claim = hand_over, claim
deploy.LATE = int(os.environ.get("LATE", deploy.LATE))
asyncio.run(deploy.sweep.local())
print(json.dumps(handed_over))
"""

RETURNED = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS, data=pickle.dumps(None))
BROKEN = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_FAILURE, exception="RuntimeError")


async def swept(environ: Mapping[str, str], **given: str) -> list[str]:
    """Have a container look for what nobody carries; return the ids of the jobs that it hands over."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SWEEP), cwd=ROOT, env={**environ, **given}, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    handed_over: list[str] = json.loads(said)
    return handed_over


async def test_what_nobody_carries_is_handed_over_again_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with ModalServer(SECRETS) as server, server.client() as client:
        store, carriers = stored(client), modal.Dict.from_name("imagine-carriers", create_if_missing=True, client=client)

        async def written(claim: str, *, minutes_ago: float, carrier: str = "") -> str:
            job = Job(
                claim=claim, request=compose("a fox", model="sketch"), platform="slack", person="slack:T1:U1", reply_to={}
            )
            with monkeypatch.context() as patched:
                then = time.time_ns() - int(minutes_ago * 60e9)
                patched.setattr("bot.store_modal.time.time_ns", lambda: then)
                await store.claim(job)
            if carrier:
                await carriers.put.aio(job.id, carrier)
            return job.id

        server.calls_ended = {"fc-returned": RETURNED, "fc-broken": BROKEN}
        left = {
            await written("the web container died", minutes_ago=30),
            await written("the courier failed for good", minutes_ago=30, carrier="fc-broken"),
            await written("its platform was off", minutes_ago=30, carrier="fc-returned"),
        }
        await written("is just being handed over", minutes_ago=0)
        await written("is being carried", minutes_ago=30, carrier="fc-under-way")
        hopeless = await written("cannot be carried", minutes_ago=25 * 60)
        assert set(await swept(server.environment(tmp_path), LATE=f"{15 * deploy.LATE}")) == left  # this machine may be slow
        record = await store.record(hopeless)
    assert record
    assert record.outcome == "given up"


async def test_a_call_that_begins_while_it_is_looked_for_stays_the_only_one(tmp_path: Path) -> None:
    async with ModalServer(SECRETS) as server, server.client() as client:
        store, carriers = stored(client), modal.Dict.from_name("imagine-carriers", create_if_missing=True, client=client)
        job = Job(claim="x", request=compose("a fox", model="sketch"), platform="slack", person="slack:T1:U1", reply_to={})
        await store.claim(job)
        assert await swept(server.environment(tmp_path), LATE="-1", BEGINS="fc-late") == [job.id]
        assert await carriers.get.aio(job.id) == "fc-late"


class Pool:
    """Generators whose containers fare as they are told, call by call: what is an exception breaks off there."""

    def __init__(self, *courses: Sequence[Event | Exception]) -> None:
        self._courses = list(courses)
        self.calls: list[str] = []
        self.awake = asyncio.Event()
        self.awake.set()
        self.runners, self.backlog = 1, 0
        self.trouble: Exception | None = None
        self.generate = SimpleNamespace(
            remote_gen=SimpleNamespace(aio=self._call), get_current_stats=SimpleNamespace(aio=self._stats)
        )

    async def _stats(self) -> SimpleNamespace:
        if self.trouble:
            raise self.trouble
        return SimpleNamespace(num_total_runners=self.runners, backlog=self.backlog)

    async def _call(self, _request: ImageRequest, *, call: str, **_more: object) -> AsyncGenerator[Event, None]:
        self.calls.append(call)
        await self.awake.wait()
        for event in self._courses.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event


DONE = Finished((), 1.0)
BROKE = RuntimeError("CUDA error: an illegal memory access was encountered")
DIED, FAILED = modal.exception.RemoteError("the container was killed"), modal.exception.InternalFailure("no container")
TIMED_OUT = modal.exception.FunctionTimeoutError("900 s")


@pytest.fixture
async def dicts(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, modal.Dict]]:
    """Keep the dictionaries that a drawing uses on a server of ours."""
    async with ModalServer() as server, server.client() as client:
        kept = {name: modal.Dict.from_name(name, create_if_missing=True, client=client) for name in ("wakes", "stops")}
        for name, each in kept.items():
            monkeypatch.setattr(deploy, name, each)
        monkeypatch.setattr(deploy, "_looks", {})
        yield kept


FOX = compose("a fox", model="sketch")
JOB = Job(claim="slack:T1:1.2", request=FOX, platform="slack", person="slack:T1:U1", reply_to={})


async def drawn(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """Draw in a pool, which wakes once somebody has been told that it sleeps."""
    monkeypatch.setattr(deploy, "pool", lambda _model: pool)
    events = []
    async for event in deploy._draw(JOB, FOX, None):
        events.append(event)
        pool.awake.set()
    return events


@pytest.mark.usefixtures("dicts")
@pytest.mark.parametrize("lost", [DIED, FAILED, BROKE], ids=["killed", "never started", "broken"])
async def test_a_drawing_whose_container_is_lost_is_drawn_once_more(lost: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool([Started(), lost], [Started(), DONE])
    assert await drawn(pool, monkeypatch) == [Started(), Started(), DONE]


@pytest.mark.usefixtures("dicts")
@pytest.mark.parametrize(
    ("courses", "calls", "words"),
    [
        ([[Started(), DIED], [DIED]], 2, str(Told(deploy.LOST))),
        ([[Started(), TIMED_OUT]], 1, "That took more than 15 minutes, so I stopped it."),
        ([[TooLarge()]], 1, str(TooLarge())),
        ([[Started(), Cancelled()]], 1, str(Cancelled())),
    ],
    ids=["lost twice", "too long", "too large", "cancelled"],
)
async def test_a_drawing_that_cannot_be_is_told_in_words(
    courses: list[list[Event | Exception]], calls: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool(*courses)
    with pytest.raises(Told) as told:
        await drawn(pool, monkeypatch)
    assert str(told.value).startswith(words)
    assert len(pool.calls) == calls


async def test_who_wakes_a_gpu_is_told_how_long_that_took_the_last_time(
    dicts: dict[str, modal.Dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool([Started(), DONE])
    pool.awake.clear()
    monkeypatch.setattr(deploy, "LOOK_AGAIN", 0.01)
    await dicts["wakes"].put.aio("sketch", 41.0)
    waking, *events = await drawn(pool, monkeypatch)
    assert waking == Waking(41.0)
    assert [event for event in events if event != waking] == [Started(), DONE]
    assert 0 < await dicts["wakes"].get.aio("sketch") < 41


async def test_where_no_more_gpus_may_wake_people_are_told_how_many_are_before_them(
    dicts: dict[str, modal.Dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool([Started(), DONE])
    pool.awake.clear()
    pool.runners, pool.backlog = deploy.MOST_GPUS, 2 * deploy.MOST_GPUS + 1
    monkeypatch.setattr(deploy, "LOOK_AGAIN", 0.01)
    waits, *events = await drawn(pool, monkeypatch)
    assert waits == Queued(2)
    assert [event for event in events if event != waits] == [Started(), DONE]
    assert await dicts["wakes"].get.aio("sketch") is None  # nothing woke


@pytest.mark.usefixtures("dicts")
async def test_where_nobody_can_say_what_a_drawing_waits_for_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool([Started(), DONE])
    pool.awake.clear()
    pool.trouble = modal.exception.ServiceError("no stats just now")
    monkeypatch.setattr(deploy, "LOOK_AGAIN", 0.01)
    waits, *events = await drawn(pool, monkeypatch)
    assert waits == Waking()
    assert [event for event in events if event != waits] == [Started(), DONE]


class Shut:
    """A dictionary in which nobody can write; what is read there is read in another one."""

    def __init__(self, readable: modal.Dict) -> None:
        self.put, self.get = SimpleNamespace(aio=self._refuse), readable.get

    async def _refuse(self, *_: object) -> None:
        raise modal.exception.ServiceError("no dictionary just now")


async def test_a_drawing_goes_on_where_nothing_can_be_written_down(
    dicts: dict[str, modal.Dict], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = Pool([Started(), DIED], [Started(), DONE])
    pool.awake.clear()
    monkeypatch.setattr(deploy, "LOOK_AGAIN", 0.01)
    for name, kept in dicts.items():
        monkeypatch.setattr(deploy, name, Shut(kept))
    events = await drawn(pool, monkeypatch)
    assert [event for event in events if not isinstance(event, Waking)] == [Started(), Started(), DONE]
    assert "sketch was not written down" in caplog.text
    assert f"{pool.calls[0]} was not written down" in caplog.text


async def test_a_drawing_that_is_left_while_that_is_written_down_is_left(
    dicts: dict[str, modal.Dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, writing = Pool([Started(), DIED], [Started(), DONE]), asyncio.Event()

    async def hang(*_: object) -> None:
        writing.set()
        await asyncio.Event().wait()

    shut = Shut(dicts["stops"])
    shut.put.aio = hang
    monkeypatch.setattr(deploy, "stops", shut)
    drawing = asyncio.create_task(drawn(pool, monkeypatch))
    await writing.wait()
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert len(pool.calls) == 1


@pytest.mark.usefixtures("dicts")
async def test_a_drawing_that_fails_in_two_containers_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="CUDA error"):
        await drawn(Pool([Started(), BROKE], [BROKE]), monkeypatch)


async def test_whoever_leaves_a_drawing_says_so_and_whose_drawing_ended_does_not(
    dicts: dict[str, modal.Dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool([Started(), DONE], [Started(), Cancelled()], [Started(), DONE])
    await drawn(pool, monkeypatch)
    with pytest.raises(Cancelled):
        await drawn(pool, monkeypatch)
    assert [key async for key in dicts["stops"].keys.aio()] == []
    events = deploy._draw(JOB, FOX, None)
    assert await anext(events) == Started()
    await events.aclose()
    assert [key async for key in dicts["stops"].keys.aio()] == pool.calls[2:]


class Patient:
    """A generator that draws until it is told to stop, or until it may finish."""

    def __init__(self) -> None:
        self.ends = threading.Event()

    def generate(self, _request: ImageRequest, *, stop: threading.Event, **_more: object) -> Generator[Event, None, None]:
        yield Started()
        while not self.ends.wait(0.005):
            if stop.is_set():
                raise Cancelled
        yield DONE

    def warm(self) -> None:
        """Be warm."""

    rest = check = warm


@dataclass
class Container:
    """A container of `Generator` whose model is `Patient`, and Modal around it."""

    server: ModalServer
    store: ModalStore
    stops: modal.Dict
    patient: Patient
    generate: Callable[..., Generator[Event, None, None]]

    async def draw(self, call: str) -> list[Event]:
        return await asyncio.to_thread(lambda: list(self.generate(FOX, call=call)))


@pytest.fixture
async def container(dicts: dict[str, modal.Dict], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Container]:
    async with ModalServer() as server, server.client() as client:
        cancels = modal.Queue.from_name("cancels", create_if_missing=True, client=client)
        patient, waiting = Patient(), modal.Dict.from_name("waiting", create_if_missing=True, client=client)
        monkeypatch.setattr(deploy, "cancels", cancels)
        monkeypatch.setattr("bot.gen.Generator", lambda _model: patient)
        monkeypatch.setattr(deploy, "compiled", SimpleNamespace(commit=lambda: None))
        generate = deploy.pool("sketch").generate.local
        yield Container(server, ModalStore(None, None, waiting, cancels), dicts["stops"], patient, generate)
        patient.ends.set()
        await until(lambda: not server.listening)


async def test_a_drawing_hears_at_once_that_its_job_is_cancelled(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "LISTEN", 60.0)  # no look at anything after the first would come in time
    drawing = asyncio.create_task(container.draw(f"{JOB.id} first"))
    await until(lambda: container.server.listening)
    await container.store.cancel("another")
    await container.store.cancel(JOB.id)
    for late in (drawing, asyncio.create_task(container.draw(f"{JOB.id} second"))):
        with pytest.raises(Cancelled):
            await asyncio.wait_for(late, 10)


async def test_a_drawing_whose_job_is_not_cancelled_is_finished(container: Container) -> None:
    drawing = asyncio.create_task(container.draw(f"{JOB.id} first"))
    await until(lambda: container.server.listening)
    await container.store.cancel("another")
    container.patient.ends.set()
    assert await drawing == [Started(), DONE]


@pytest.mark.parametrize("down", [set[str](), {"QueueGet"}, {"QueuePut"}], ids=["nothing", "listening", "telling"])
async def test_a_drawing_whose_caller_has_gone_ends_whatever_is_down(
    container: Container, down: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "LISTEN", 0.01)
    container.server.down = down
    drawing = asyncio.create_task(container.draw(f"{JOB.id} first"))
    await until(lambda: container.server.calls["QueueGet"] > 2)
    await container.store.cancel(JOB.id) if down else None
    await container.stops.put.aio(f"{JOB.id} first", "")
    with pytest.raises(Cancelled):
        await asyncio.wait_for(drawing, 10)


async def test_whatever_happens_to_a_connection_one_listens_on(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    hears, troubles = deploy._hears_cancel, [StreamTerminatedError("connection lost"), RuntimeError("something else")]

    async def hears_badly(job_id: str) -> bool:
        if troubles:
            raise troubles.pop()
        return await hears(job_id)

    monkeypatch.setattr(deploy, "LISTEN", 0.01)
    monkeypatch.setattr(deploy, "_hears_cancel", hears_badly)
    drawing = asyncio.create_task(container.draw(f"{JOB.id} first"))
    await until(lambda: not troubles)
    await container.store.cancel(JOB.id)
    with pytest.raises(Cancelled):
        await asyncio.wait_for(drawing, 10)


async def test_listening_leaves_nothing_behind(container: Container) -> None:
    container.patient.ends.set()
    await container.draw(f"{JOB.id} first")
    threads = threading.active_count()
    for _ in range(5):
        await asyncio.gather(*(container.draw(f"{JOB.id} {number}") for number in range(deploy.DRAWINGS)))
    await until(lambda: threading.active_count() <= threads + deploy.DRAWINGS)  # those of this test, for its own four
    await until(lambda: not container.server.listening)


class Unsound:
    """A generator that came out of a snapshot with its GPU broken."""

    def generate(self, _request: ImageRequest, **_more: object) -> Generator[Event, None, None]:
        yield Started()
        raise BROKE

    def warm(self) -> None:
        """Be warm."""

    rest = check = warm


def test_a_container_whose_gpu_is_broken_takes_no_more_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []
    monkeypatch.setattr("modal.experimental.stop_fetching_inputs", lambda: stopped.append(True))
    monkeypatch.setattr("bot.gen.Generator", lambda _model: Unsound())
    monkeypatch.setattr(deploy, "compiled", SimpleNamespace(commit=lambda: None))
    with pytest.raises(RuntimeError, match="CUDA error"):
        list(deploy.pool("sketch").generate.local(compose("a fox", model="sketch")))
    assert stopped == [True]


FETCH = """
from bot import deploy
from bot.errors import Told
try:
    deploy.fetch.local("sketch")
except Told as told:
    print(told)
"""


async def test_a_model_is_never_fetched_by_two_at_a_time(tmp_path: Path) -> None:
    async with ModalServer(SECRETS) as server, server.client() as client:
        fetches = modal.Dict.from_name("imagine-fetches", create_if_missing=True, client=client)
        await fetches.put.aio("sketch", ("in-another", time.time() - 5 * 60))
        command = [sys.executable, "-c", FETCH]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=server.environment(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        assert await fetches.get.aio("sketch")  # it is still the other's
    told = re.fullmatch(
        r"sketch is being fetched already, for (\d+) min now. Wait for that; then it is there.\n", said.decode()
    )
    assert told
    assert int(told[1]) >= 5  # this machine may be slow


async def test_what_the_hub_says_instead_of_handing_out_weights_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("403 Forbidden: you have not agreed to the terms")

    monkeypatch.setattr("bot.weights.fetch", refuse)
    async with ModalServer() as server, server.client() as client:
        kept = modal.Dict.from_name("fetches", create_if_missing=True, client=client)
        monkeypatch.setattr(deploy, "fetches", kept)
        with pytest.raises(Told, match="flux-dev could not be fetched: 403 Forbidden"):
            await asyncio.to_thread(deploy.fetch.local, "flux-dev")
        assert await kept.get.aio("flux-dev") is None  # the next one may try


class AtOnce:
    """A dictionary whose first two readers have both read before either goes on."""

    def __init__(self, inner: modal.Dict) -> None:
        self.put, self.pop, self._inner = inner.put, inner.pop, inner
        self._both = threading.Barrier(2)
        self._reads = itertools.count()

    def get(self, key: str, default: object = None) -> object:
        found = self._inner.get(key, default)
        if next(self._reads) < 2:
            self._both.wait(30)
        return found


async def test_of_two_who_find_that_a_fetch_has_died_one_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    fetching, done = [], threading.Event()

    def fetch() -> None:
        with deploy._alone("sdxl"):
            fetching.append(threading.get_ident())
            done.wait(30)

    async with ModalServer() as server, server.client() as client:
        kept = modal.Dict.from_name("fetches", create_if_missing=True, client=client)
        await kept.put.aio("sdxl", ("in-dead", time.time() - deploy.FETCHING - 1))
        monkeypatch.setattr(deploy, "fetches", AtOnce(kept))
        monkeypatch.setattr(modal, "current_input_id", lambda: f"in-{threading.get_ident()}")
        both = [asyncio.create_task(asyncio.to_thread(fetch)) for _ in range(2)]
        (turned_away,), (at_it,) = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        with pytest.raises(Told, match="sdxl is being fetched already, for 0 min now"):
            await turned_away
        done.set()
        await at_it
        assert len(fetching) == 1
        await asyncio.to_thread(fetch)  # and the next one may, though the mark of the dead is still there
    assert len(fetching) == 2


def test_a_container_that_started_before_the_weights_were_there_draws_once_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[bool] = []
    monkeypatch.setattr(deploy, "compiled", SimpleNamespace(commit=lambda: compiled.append(True)))
    late = replace(SKETCH, repository=str(tmp_path / "late"))
    (tmp_path / "late").mkdir()
    monkeypatch.setitem(ROWS, "sketch", late)
    generate = deploy.pool("sketch").generate.local  # it does what a container does at its start, and then draws
    request = compose("a fox", model="sketch", num_inference_steps=1)
    with pytest.raises(Told, match="The weights of sketch are not on this machine"):
        list(generate(request))
    (tmp_path / "late").rmdir()
    (tmp_path / "late").symlink_to(SKETCH.repository)
    *_, finished = generate(request)
    assert isinstance(finished, Finished)
    assert len(finished.pictures) == 1
    assert compiled == [True]  # it was made ready first, like any other
