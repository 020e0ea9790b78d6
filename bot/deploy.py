"""All of Modal: which containers there are, what each may know, and how they call one another. https://modal.com/docs

    modal deploy -m bot                                       the whole bot
    modal run -m bot.deploy::download --model sdxl            fetch a model's weights, once
    modal run -m bot.deploy::register                         tell Discord about /imagine
    modal run -m bot.deploy::draw --prompt "a red fox"        draw from a terminal, on the GPU that is deployed
    imagine status --modal                                    what is up, what waits, how long it takes

Three kinds of containers: `web` takes commands and stays awake; `courier` sees each job through and talks to people;
`Generator` and `SmallGenerator` draw, one pool of GPUs for each model, and hold no secret at all. Now and then, `sweep`
looks whether a job has fallen between them, and `remind` sees that nothing is forgotten that is kept for good.

Every container imports this file, and its image is all that it finds there. What one of them alone has installed is
imported within its own functions, or under `light.imports()`. Nothing here may depend on the environment of whoever
deploys: the containers would count other objects than they were given. Annotations stand as they are, for Modal reads them.
"""

import asyncio
import logging
import math
import os
import queue
import threading
import time
import tomllib
import traceback
import uuid
from collections import abc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import modal
import modal.experimental

from bot.errors import BadRequest, Told
from bot.models import DEFAULT, LARGE, MODELS, ROWS, SMALL
from bot.request import MAX_PICTURES, SEEDS, Event, Finished, ImageRequest, Job, Queued, Waking, compose
from bot.texts import Phrase

if TYPE_CHECKING:
    from fastapi import FastAPI

    from bot import gen

log: Final = logging.getLogger(__name__)

NAME: Final = "imagine"
MINUTES: Final = 60  # seconds

# What people may name, the default first: Apache-2.0, and the hub asks nobody for a token. FLUX.1 has the same licence
# but wants a token, the others have terms. `sketch` needs no download: with it, all can be tried right after deploying.
OFFERED: Final = ("z-image-turbo", "sdxl", "flux-schnell", "sketch")

# Restoring a started container, networks on the GPU and all, takes seconds where starting one takes most of a minute.
# Modal calls it alpha. False gives containers that load at every start, and is all there is to change.
GPU_SNAPSHOT: Final = True
NOT_RESTORED: Final = 222  # what Modal's client exits with where a GPU was not restored: the next container has no snapshot

DRAWING: Final = 15 * MINUTES  # the longest job, ten pictures of the slowest model, takes three; others may be before it
STARTING: Final = 15 * MINUTES  # 34 GB from a Volume, and the first drawing
JOB: Final = 2 * (STARTING + DRAWING) + 30 * MINUTES  # two tries, and then the platforms' patience
FETCHING: Final = 120 * MINUTES  # the largest model at 5 MB a second
IDLE: Final = 5 * MINUTES  # a GPU waits so long for the next person; shorter saves money, longer saves waking
# GPUs that stay awake for every model that has been asked for, where none draws. 1 spares people the waking, and is paid for
# around the clock: an hour of the first GPU of its row, 24 times a day, for each such model. README.md has the prices.
WARM: Final = 0
SPARE: Final = 0  # GPUs more than are busy, while some are: 1 spares a second person the waking, and doubles a quiet day's cost
MOST_GPUS: Final = 10  # for each model: a bound on what a busy day can cost
DRAWINGS: Final = 4  # at most in one container: they share its GPU step by step
ABREAST: Final = 2  # what Modal aims at: the next one is there when the first is done, and more wake another GPU
COMMANDS: Final = 100  # at a time in one `web`: each takes milliseconds
JOBS: Final = 200  # at a time in one `courier`: each mostly waits
SWEEPING: Final = 2  # minutes between two looks for jobs that nobody carries
LATE: Final = 1 * MINUTES  # after which whoever took a job has handed it over, has taken it back, or is no more
REMEMBERING: Final = 30 * MINUTES  # two round trips for each person and workspace that something is kept of for good
OWED: Final = 24 * 60 * MINUTES  # for so long a job is handed over again that no courier can see through
ANSWERS: Final = 8  # seconds in which Modal says something, if it can be reached; its client would try for a minute
COMPUTING: Final = 30  # seconds in which a GPU that works has computed something tiny
LISTEN: Final = 2.0  # seconds to listen for a cancel before a look at whether whoever called has gone, and so on
LOOK_AGAIN: Final = 2.0  # seconds between two looks at whether the GPU is awake

AGAIN: Final = modal.Retries(max_retries=5, initial_delay=1.0)  # of a courier; harmless: a job's notes say what has been done

# All that a secret must have. SLACK_CLIENT_ID and its secret are not among it: a secret made before them has to go on serving.
CHAT: Final = ("SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN", "DISCORD_PUBLIC_KEY", "DISCORD_APPLICATION_ID", "DISCORD_BOT_TOKEN")
WEIGHTS: Final = "/weights"
COMPILED: Final = "/compiled"  # what one container has compiled, the next one finds: three minutes become half a minute
STATE: Final = "{:16}{:>12}{:>10}{:>16}"  # the columns of `imagine status --modal`

# What asking for the result of a call raises while it is under way, or where Modal cannot be asked. All else is how it ended.
UNDER_WAY: Final = (
    TimeoutError,
    OSError,
    modal.exception.ConnectionError,
    modal.exception.InternalError,
    modal.exception.ServiceError,
)

LOST: Final = Phrase("The GPU broke off in the middle, twice. Please try again in a minute, or ask for less at a time.")
TOO_LONG: Final = Phrase("That took more than {minutes} minutes, so I stopped it. Please try it smaller, or with fewer steps.")


def requirements(extra: str | None = None) -> list[str]:
    """Return what `pyproject.toml` lists, so that each version is written down once."""
    listed = Path(__file__).parent.with_name("pyproject.toml")
    if not listed.exists():
        return []  # this is a container, and its image is long built
    project = tomllib.loads(listed.read_text("utf-8"))["project"]
    found: list[str] = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return found


python: Final = modal.Image.debian_slim("3.12").env({"IMAGINE_MODELS": ",".join(OFFERED)})
light: Final = python.uv_pip_install(*requirements())
compiling: Final = python.apt_install("gcc", "g++")  # torch.compile and Triton compile what starts their kernels
heavy: Final = compiling.uv_pip_install(*requirements("gpu")).env(
    {
        "HF_HUB_CACHE": WEIGHTS,
        "HF_HUB_OFFLINE": "1",
        "TORCHINDUCTOR_CACHE_DIR": f"{COMPILED}/inductor",
        "TRITON_CACHE_DIR": f"{COMPILED}/triton",
    }
)
online: Final = heavy.env({"HF_HUB_OFFLINE": "0"})

chat: Final = modal.Secret.from_name("imagine-chat", required_keys=list(CHAT))  # a platform that is not used: set to nothing
weights: Final = modal.Volume.from_name("imagine-weights", create_if_missing=True)
compiled: Final = modal.Volume.from_name("imagine-compiled", create_if_missing=True)
jobs: Final = modal.Dict.from_name("imagine-jobs", create_if_missing=True)
pictures: Final = modal.Dict.from_name("imagine-pictures", create_if_missing=True)
waiting: Final = modal.Dict.from_name("imagine-waiting", create_if_missing=True)  # the jobs that somebody waits for
carriers: Final = modal.Dict.from_name("imagine-carriers", create_if_missing=True)  # the one call that carries each of them
cancels: Final = modal.Queue.from_name("imagine-cancels", create_if_missing=True)  # with a partition for each job
stops: Final = modal.Dict.from_name("imagine-stops", create_if_missing=True)  # the calls whose callers have gone
fetches: Final = modal.Dict.from_name("imagine-fetches", create_if_missing=True)  # who fetches each model, and since when
wakes: Final = modal.Dict.from_name("imagine-wakes", create_if_missing=True)  # seconds that each model last took to wake

app: Final = modal.App(NAME)

with light.imports():  # type: ignore[no-untyped-call]
    from bot import courier, platforms
    from bot import web as doors
    from bot.desk import Desk
    from bot.store_modal import ModalStore


@app.function(image=light, secrets=[chat], min_containers=1, enable_memory_snapshot=True, timeout=1 * MINUTES)
@modal.concurrent(max_inputs=COMMANDS)
@modal.asgi_app()
def web() -> "FastAPI":
    """Take commands, at once: one container is always awake."""
    doors.collect_rarely()
    return doors.create(_parts)


@asynccontextmanager
async def _parts() -> AsyncIterator["doors.Parts"]:
    try:
        platforms.check(os.environ)
    except Told as wrong:  # people are served with the rest; `imagine doctor` and this line are for the admin
        log.error("%s", wrong)  # noqa: TRY400  it is a sentence, and nothing of ours has failed
    async with platforms.open_session() as session:
        yield doors.Parts(
            slack=platforms.in_slack(os.environ, session, _desk()),
            discord=platforms.in_discord(os.environ, session, _desk()),
            page=None,  # anybody on the internet could draw with it
            picture=_store().png,
            health=lambda: {"models": list(MODELS), "platforms": platforms.states()},
        )


def _store() -> "ModalStore":
    return ModalStore(jobs, pictures, waiting, cancels)


def _desk() -> "Desk":
    return Desk(_store(), _hand_over, DEFAULT)


async def _hand_over(job: Job) -> None:
    """Hand a job to a courier; by its id, for the courier may be of the next version."""
    await Courier().carry.spawn.aio(job.id)


@app.function(image=light, schedule=modal.Cron("0 4 * * *"), timeout=REMEMBERING, max_containers=1)
async def remind() -> None:
    """Read once a day what is never to be forgotten; at an hour, for a period begins anew with each deployment."""
    await _store().read_forever()


@app.function(
    image=light, schedule=modal.Period(minutes=SWEEPING), timeout=SWEEPING * MINUTES, max_containers=1, scaledown_window=2
)
async def sweep() -> None:
    """Hand over again what nobody carries: who wrote it down died before it could, or its courier failed each time."""
    store = _store()
    for record in await store.tidy():
        failure = await courier.attempt(_see_to(store, record.job, time.time() - record.made))
        if failure:
            log.error("job %s was not seen to: %r", record.job.id, failure)


async def _see_to(store: "ModalStore", job: Job, age: float) -> None:
    if age > OWED:
        log.error("job %s: no courier has seen it through", job.id)
        await store.finish(job.id, "given up")
    elif age > LATE and await _is_free(job.id) and (await store.claim(job)).id == job.id:
        log.warning("job %s: nobody carries it", job.id)
        await _hand_over(job)


async def _is_free(job_id: str) -> bool:
    """Return whether no call carries a job; the mark of one that Modal will not start again is taken away.

    No other call can begin while that stands, so it is the same one that goes.
    """
    call = await carriers.get.aio(job_id)
    if call is None:
        return True
    ended = await courier.attempt(modal.FunctionCall.from_id(call).get.aio(timeout=0))
    if isinstance(ended, UNDER_WAY):
        return False
    await carriers.pop.aio(job_id, None)
    return True


@app.cls(
    image=light,
    secrets=[chat],
    enable_memory_snapshot=True,
    timeout=JOB,
    startup_timeout=1 * MINUTES,
    retries=AGAIN,
)
@modal.concurrent(max_inputs=JOBS)
class Courier:
    """Sees jobs through, any number at once. It alone talks to people."""

    @modal.enter()
    async def open(self) -> None:
        """Connect to the platforms; not in the snapshot, which no connection survives."""
        self._store = _store()
        self._session = platforms.open_session()
        on = {
            "slack": platforms.in_slack(os.environ, self._session, _desk()),
            "discord": platforms.in_discord(os.environ, self._session, _desk()),
        }
        here = {name: platform for name, platform in on.items() if platform}
        self._courier = courier.Courier(draw=_draw, store=self._store, platforms=here)

    @modal.exit()
    async def close(self) -> None:
        """Disconnect."""
        await self._session.close()

    @modal.method()
    async def carry(self, job_id: str) -> None:
        """See one job through, from wherever it stands, unless another call is at it."""
        failure = await courier.attempt(self._carry(job_id))
        if failure:  # never as what it was: by a TimeoutError, Modal says that a call is still under way
            raise RuntimeError(f"job {job_id}: {failure!r}") from failure

    async def _carry(self, job_id: str) -> None:
        if not await _taken(job_id):
            return
        record = await self._store.record(job_id)  # not before: whoever carried it until now may have ended it
        if record is not None and record.outcome is None:
            await self._courier.carry(record)
        await carriers.pop.aio(job_id, None)


async def _taken(job_id: str) -> bool:
    """Be the one call that carries a job; what Modal starts again is the same call."""
    me = modal.current_function_call_id()
    return await carriers.put.aio(job_id, me, skip_if_exists=True) or await carriers.get.aio(job_id) == me


async def _draw(job: Job, request: ImageRequest, image: bytes | None) -> abc.AsyncGenerator[Event, None]:
    """Have a job drawn; where the container dies over it, or fails for no reason that can be told, once more in another."""
    for again in (True, False):
        try:
            async with aclosing(_events(job, request, image)) as events:
                async for event in events:
                    yield event
        except modal.exception.FunctionTimeoutError as error:
            raise Told(TOO_LONG, minutes=DRAWING // MINUTES) from error
        except (modal.exception.RemoteError, modal.exception.InternalFailure) as error:
            log.warning("job %s: the generator was lost: %s", job.id, error)
            if not again:
                raise Told(LOST) from error
        except RuntimeError as error:
            log.warning("job %s: the generator failed: %s", job.id, error)
            if not again:
                raise
        else:
            return


async def _events(job: Job, request: ImageRequest, image: bytes | None) -> abc.AsyncGenerator[Event, None]:
    """Call the generator; until it answers, say what it waits for."""
    called, call, ended = time.monotonic(), f"{job.id} {uuid.uuid4().hex}", False
    waits: Event | None = None
    events = pool(request.model).generate.remote_gen.aio(request, image=image, call=call)
    first: asyncio.Task[Event] = asyncio.ensure_future(anext(events))
    try:
        while not (await asyncio.wait({first}, timeout=LOOK_AGAIN))[0]:
            waits = await _waited_for(request.model)
            yield waits
        yield await first
        if isinstance(waits, Waking):
            await _put(wakes, request.model, time.monotonic() - called)
        async for event in events:
            yield event
        ended = True
    except Told:
        ended = True
        raise
    finally:
        first.cancel()
        if not ended:  # Modal would draw on: closing a remote generator does not reach it
            await _put(stops, call, "")


async def _put(entries: modal.Dict, name: str, value: object) -> None:
    """Write down what is useful to know, but no reason to fail a drawing, or to hide why one failed."""
    written = await courier.attempt(entries.put.aio(name, value))
    if isinstance(written, Exception):
        log.warning("%s was not written down: %r", name, written)


async def _waited_for(model: str) -> Event:
    """Return what whoever is not drawn yet waits for; one look serves all who wait for a model."""
    looked, event = _looks.get(model, (-math.inf, Waking()))
    if time.monotonic() - looked < LOOK_AGAIN:
        return event
    _looks[model] = time.monotonic(), event
    found = await courier.attempt(_look(model))
    if isinstance(found, Exception):  # nobody's drawing is to fail over that
        log.warning("cannot see what drawings of %s wait for: %r", model, found)
        return event
    _looks[model] = time.monotonic(), found
    return found


async def _look(model: str) -> Event:
    """Find what is waited for: a GPU that wakes, or a turn where no more GPUs may; each of those takes its share."""
    stats = await pool(model).generate.get_current_stats.aio()
    if stats.num_total_runners >= MOST_GPUS:
        return Queued(max(0, stats.backlog - 1) // MOST_GPUS)
    return Waking(await wakes.get.aio(model))


_looks: Final[dict[str, tuple[float, Event]]] = {}  # when it was last seen what drawings of a model wait for, and what


class _Generator:
    """One model on one GPU. It is called by `courier`, which is also the one to call again: generators have no retries."""

    model: str

    @modal.enter(snap=GPU_SNAPSHOT)
    def load(self) -> None:
        """Load the model, compile it and draw once, so that the first person does not pay for what a first drawing prepares."""
        self._inside = 0
        self._loading = threading.Lock()
        self._generator: gen.Generator | None = None
        with suppress(Told):  # the weights are not there yet; whoever asks for a picture is told
            self._loaded()

    @modal.enter()
    def check(self) -> None:
        """End, before anybody's drawing is taken, where the GPU does not compute: one may come broken out of a snapshot."""
        if self._generator is None:
            return
        computed = ThreadPoolExecutor(1, "check").submit(self._generator.check)
        try:
            failure = computed.exception(COMPUTING)
        except TimeoutError as silence:
            failure = silence
        if failure:
            log.error("the GPU does not compute: %r", failure)
            os._exit(NOT_RESTORED)  # a context of CUDA that is broken does not mend, and hangs whoever waits for its threads

    @modal.enter()
    def listen(self) -> None:
        """Make ready to hear what is cancelled; not in the snapshot, which no connection survives."""
        self._ear = asyncio.new_event_loop()
        threading.Thread(target=self._ear.run_forever, name="listen", daemon=True).start()

    @modal.method()
    def generate(
        self, request: ImageRequest, batch_size: int = 1, image: bytes | None = None, call: str = ""
    ) -> abc.Generator[Event, None, None]:
        """Yield the events of a drawing, until its job is cancelled, or whoever made this `call` has gone.

        `call` is the job's id, and a name of its own behind it. No randomness but the request's own seed goes into a picture,
        so a snapshot repeats none.
        """
        self._inside += 1
        try:
            if self._inside > 1:
                yield Queued(self._inside - 1)
            with self._listening(call) as stop:
                drawing = self._loaded().generate(request, batch_size=batch_size, image=image, stop=stop)
                with closing(drawing) as events:
                    yield from events
        except Told:
            raise
        except Exception:  # noqa: BLE001  the caller has no torch, and could not unpack torch's own exceptions
            modal.experimental.stop_fetching_inputs()  # a GPU that went wrong, or was restored wrongly, does not mend itself
            raise RuntimeError(traceback.format_exc()) from None
        finally:
            self._inside -= 1

    @contextmanager
    def _listening(self, call: str) -> Iterator[threading.Event]:
        """Listen, as long as a drawing takes, whether it is still wanted; the event is set once it is not."""
        stop = threading.Event()
        listening = asyncio.run_coroutine_threadsafe(_listen(call, stop), self._ear) if call else None
        try:
            yield stop
        finally:
            if listening:
                listening.cancel()

    def _loaded(self) -> "gen.Generator":
        from bot import gen

        with self._loading:
            if self._generator is None:  # also after a snapshot that was taken before the weights were there
                self._generator = gen.Generator(ROWS[self.model])
                with suppress(Told):  # too large to warm up with: smaller pictures may do
                    self._generator.warm()
                self._generator.rest()
                compiled.commit()
            return self._generator


async def _listen(call: str, stop: threading.Event) -> None:
    """Set `stop` once the job of a call is cancelled, or whoever made the call has gone."""
    while not stop.is_set():
        said: Sequence[object] = await asyncio.gather(
            stops.pop.aio(call, None), _hears_cancel(call.partition(" ")[0]), return_exceptions=True
        )
        errors = [each for each in said if isinstance(each, BaseException)]
        if "" in said or True in said:
            stop.set()
        elif errors:
            log.warning("cannot hear whether job %s is cancelled: %r", call, errors)
            await asyncio.sleep(LISTEN)


async def _hears_cancel(job_id: str) -> bool:
    try:
        async with asyncio.timeout(2 * LISTEN):  # where Modal forgets to answer
            await cancels.get.aio(timeout=LISTEN, partition=job_id)
    except queue.Empty:
        return False
    return True


# Only a class can name several kinds of GPU, the best first: `with_options` takes one. So there is a class for each list.
drawing: Final[Mapping[str, Any]] = {
    "image": heavy,
    "volumes": {WEIGHTS: weights.read_only(), COMPILED: compiled},
    "enable_memory_snapshot": GPU_SNAPSHOT,
    "experimental_options": {"enable_gpu_snapshot": True} if GPU_SNAPSHOT else {},
    "min_containers": WARM,
    "buffer_containers": SPARE,
    "max_containers": MOST_GPUS,
    "scaledown_window": IDLE,
    "timeout": DRAWING,
    "startup_timeout": STARTING,
}
abreast: Final = modal.concurrent(max_inputs=DRAWINGS, target_inputs=ABREAST)


@app.cls(gpu=list(LARGE), **drawing)
@abreast
class Generator(_Generator):
    """The models that want a large GPU."""

    model: str = modal.parameter()


@app.cls(gpu=list(SMALL), **drawing)
@abreast
class SmallGenerator(_Generator):
    """The models that a small GPU holds."""

    model: str = modal.parameter()


GENERATORS: Final[Mapping[tuple[str, ...], str]] = {LARGE: "Generator", SMALL: "SmallGenerator"}  # who has a row's GPUs
ours: Final[Mapping[str, Any]] = {"Generator": Generator, "SmallGenerator": SmallGenerator}
deployed: Final = partial(modal.Cls.from_name, NAME)  # for whoever asks from outside


def pool(model: str, find: Callable[[str], Any] = ours.__getitem__) -> Any:
    """Return the generators of one model, which scale apart from those of all others."""
    return find(GENERATORS[ROWS[model].gpu])(model=model)


@app.function(image=online, volumes={WEIGHTS: weights}, timeout=FETCHING, max_containers=1)
def fetch(model: str) -> None:
    """Put a model's weights where all its generators find them, unless somebody is at it already."""
    import bot.weights

    with _alone(model):
        try:
            bot.weights.fetch(ROWS[model], os.environ.get("HF_TOKEN"))
        except OSError as error:  # of the hub's library too, for a token that is refused and a network that fails
            raise Told(f"{model} could not be fetched: {error}") from error
        weights.commit()


@contextmanager
def _alone(model: str) -> Iterator[None]:
    """Keep two containers from fetching one model, which `max_containers` does not: a token makes another function of it."""
    mark = _marked(model)
    try:
        yield
    finally:
        fetches.pop(mark, None)


def _marked(model: str) -> str:
    """Be the one who fetches a model; return under which mark that stands."""
    me, now, mark = modal.current_input_id(), time.time(), model
    while not fetches.put(mark, (me, now), skip_if_exists=True):
        held = fetches.get(mark)
        if held is None:
            continue  # somebody is done with it this very moment
        other, since = held
        if other == me:  # the same input comes again, where its container was taken away
            fetches.put(mark, (me, now))
            break
        if now - since < FETCHING:
            minutes = max(0.0, now - since) / MINUTES
            raise Told(f"{model} is being fetched already, for {minutes:.0f} min now. Wait for that; then it is there.")
        mark = f"{mark} after {other}"  # nobody may fetch for so long; and of all who find that out, one comes after them
    return mark


@app.function(image=light, secrets=[chat])
async def tell_discord() -> int:
    """Put our commands to Discord, with the models that are offered here; return how many it knows."""
    return await platforms.register()


@app.local_entrypoint()
def register() -> None:
    """Tell Discord about /imagine."""
    with _in_words():
        print(f"Discord knows {tell_discord.remote()} commands now.")


async def state() -> Sequence[str]:
    """Return which containers are up, what waits, how long waking a GPU last took, and how long people last waited."""
    from bot import status

    with _asking():
        web = modal.Function.from_name(NAME, "web")
        async with asyncio.timeout(ANSWERS):
            await web.hydrate.aio()
        kinds = {"web": web, "courier": deployed("Courier")().carry}
        kinds |= {model: pool(model, deployed).generate for model in OFFERED}
        lines = [STATE.format("", "containers", "waiting", "last woke in")]
        for name, kind in kinds.items():
            stats, woke = await kind.get_current_stats.aio(), await wakes.get.aio(name)
            lines.append(STATE.format(name, stats.num_total_runners, stats.backlog, f"{woke:.0f} s" if woke else "").rstrip())
        return [*lines, *await status.of_jobs(_store())]


@app.local_entrypoint()
def download(model: str = OFFERED[0]) -> None:
    """Fetch a model's weights, with the token of `HF_TOKEN` where the hub asks for one."""
    with _in_words():
        row = _row(model)
        token = os.environ.get("HF_TOKEN")
        if row.gated and not token:
            raise Told(
                f"{model} is handed out against a token: agree to its terms on https://huggingface.co/{row.repository}, make a "
                "token on https://huggingface.co/settings/tokens, and say HF_TOKEN=hf_… modal run -m bot.deploy::download …"
            )
        shown: dict[str, str | None] = {"HF_TOKEN": token} if token else {}
        fetch.with_options(secrets=[modal.Secret.from_dict(shown)]).remote(model)
        print(f"The weights of {model} are there.")


@app.local_entrypoint()
def draw(
    prompt: str = "",
    file: str = "",
    model: str = OFFERED[0],
    samples: int = 1,
    steps: int = 0,
    batch_size: int = 1,
    output: str = "pictures",
) -> None:
    """Draw a prompt `samples` times, `batch_size` pictures each; or each line of a file, `batch_size` lines at a time."""
    with _in_words():
        _row(model)
        MODELS.update(ROWS)  # this process is one command, and asks for what is deployed, not for what is here
        if not 1 <= batch_size <= MAX_PICTURES or samples < 1:
            raise BadRequest(f"--batch-size is from 1 to {MAX_PICTURES}, and --samples at least 1.")
        given: Mapping[str, Any] = {"model": model} | ({"num_inference_steps": steps} if steps else {})
        prompts = [words for words in (_lines(file) if file else [prompt]) for _ in range(samples)]
        requests = _requests(prompts, n=1 if file else batch_size, **given)  # all of them, before the first is drawn
        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        begun, generator = time.monotonic(), pool(model, deployed)
        with ThreadPoolExecutor(batch_size if file else 1) as abreast:
            drawn = sum(abreast.map(lambda request: _sample(generator, request, folder), requests))
        seconds = time.monotonic() - begun
        print(f"{drawn} pictures in {seconds:.2f} s from here, {seconds / drawn:.2f} s per picture")


def _lines(file: str) -> list[str]:
    try:
        found = [line for line in Path(file).read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise BadRequest(f"{file} cannot be read: {error}. --file takes a text with a prompt on each line.") from error
    if not found:
        raise BadRequest(f"{file} has no prompts: write one on each line.")
    return found


def _requests(prompts: Sequence[str], *, n: int, **given: Any) -> list[ImageRequest]:
    """Return a request for each prompt, whose seeds follow one another, so that no two pictures have the same."""
    first = compose("a fox", **given).seed
    return [compose(words, seed=(first + index * n) % SEEDS, n=n, **given) for index, words in enumerate(prompts)]


def _sample(generator: Any, request: ImageRequest, folder: Path) -> int:
    """Draw one batch, save it, print its time, on the GPU and as seen from here, and return how many pictures it has."""
    called = time.monotonic()
    *_, finished = generator.generate.remote_gen(request, batch_size=request.n)
    seen = time.monotonic() - called
    if not isinstance(finished, Finished):
        raise Told("The generator stopped without finishing.")
    paths = [folder / f"{request.model}-{picture.request.seed}.png" for picture in finished.pictures]
    for path, picture in zip(paths, finished.pictures, strict=True):
        path.write_bytes(picture.png)
    times = f"{finished.seconds:.2f} s per sample, {finished.seconds / request.n:.2f} s per picture ({seen:.2f} s from here)"
    print(*paths, times, sep="\n")
    return len(paths)


def _row(model: str) -> Any:
    if model not in ROWS:
        raise BadRequest(f"There is no model “{model}”. There is: {', '.join(ROWS)}.")
    return ROWS[model]


@contextmanager
def _in_words() -> Iterator[None]:
    """End a command with the sentence that is meant for people, not with a traceback."""
    try:
        with _asking():
            yield
    except Told as told:
        raise SystemExit(str(told)) from None


@contextmanager
def _asking() -> Iterator[None]:
    """Say it in words for people where Modal does not have what it is asked for, or does not know who asks."""
    try:
        yield
    except modal.exception.NotFoundError as error:
        raise Told(f"{error}. Has `modal deploy -m bot` been run?") from error
    except modal.exception.AuthError as error:
        raise Told("Modal does not know who asks. `modal token new` makes a token for this machine.") from error
    except (modal.exception.ConnectionError, TimeoutError) as error:
        raise Told("Modal does not answer. Is this machine online? status.modal.com says how Modal is.") from error
