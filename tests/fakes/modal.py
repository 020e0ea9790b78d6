"""Modal's control plane, as far as `modal deploy`, `modal.Dict`, `modal.Queue` and looking at what is deployed go.

The real client talks to it and is believed.

It builds no images, runs no functions and checks nothing that Modal's servers would check. What a deployment asked for is
kept as it came, in Modal's own messages.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import inspect
import json
import os
import sys
import time
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import modal
from grpclib import GRPCError, Status
from grpclib.server import Server
from modal_proto import api_pb2 as pb
from modal_proto.api_grpc import ModalClientBase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

DONE = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS)


class ModalServer:
    """One workspace. `functions` are what was published, by name; a list of GPUs makes several of each, best first."""

    def __init__(self, secrets: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """Take the secrets that the workspace has, with their keys."""
        self.secrets = dict(secrets or {})
        self.functions: dict[str, list[pb.Function]] = {}
        self.classes: list[str] = []
        self.names: dict[str, str] = {}  # of secrets, volumes, dictionaries and queues, by the id that we gave each
        self.required: dict[str, list[str]] = {}  # keys of each secret
        self.images: dict[str, pb.Image] = {}
        self.files: dict[str, list[str]] = {}  # that each mount puts into a container
        self.dicts: dict[str, dict[bytes, bytes]] = {}
        self.queues: defaultdict[tuple[str, bytes], asyncio.Queue[bytes]] = defaultdict(asyncio.Queue)  # by id and partition
        self.listening = 0  # calls that wait for something to be put into a queue
        self.touched: set[tuple[str, bytes]] = set()  # entries of dictionaries, since a week passed
        self.published: list[str] = []
        self.stats: dict[str, tuple[int, int]] = {}  # containers and backlog, by a function's name and its parameters' values
        self.bound: dict[str, str] = {}  # functions with values for their parameters: what `stats` calls each, by its id
        self.calls_ended: dict[
            str, pb.GenericResult
        ] = {}  # how calls of functions ended, by their ids; all others are under way
        self.token = "ak-fake"  # of whoever may ask; the anonymous may, too
        self.calls: Counter[str] = Counter()
        self.down: set[str] = set()  # calls that fail
        self._drafts: dict[str, list[pb.Function]] = {}

    async def __aenter__(self) -> Self:
        self._server = Server([_Servicer(self)])
        await self._server.start("127.0.0.1", 0)
        listening: Any = self._server._server
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[modal.Client]:
        """Open Modal's own client in this process."""
        async with modal.Client.anonymous(self.url) as client:
            yield client

    def environment(self, home: Path) -> dict[str, str]:
        """Return the variables of a process that takes this for Modal, and knows nothing of its user."""
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("MODAL_", "IMAGINE_"))}
        return mine | {
            "HOME": str(home),
            "MODAL_CONFIG_PATH": str(home / ".modal.toml"),
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": "ak-fake",
            "MODAL_TOKEN_SECRET": "as-fake",
            "MODAL_ENVIRONMENT": "main",
            "COLUMNS": "200",
        }

    async def cli(self, *arguments: str, cwd: Path, home: Path, **environ: str) -> tuple[int, str]:
        """Run `modal …`; return how it ended, and all it said."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "modal", *arguments),
            cwd=cwd,
            env=self.environment(home) | environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    def id_of(self, kind: str, name: str) -> str:
        """Return the id of a named thing, a new one if there is none."""
        found = f"{kind}-{name}"
        self.names[found] = name
        return found

    def a_week_passes(self) -> None:
        """Forget the entries of dictionaries that nobody has read or written since the last time."""
        for dict_id, entries in self.dicts.items():
            for key in [key for key in entries if (dict_id, key) not in self.touched]:
                del entries[key]
        self.touched.clear()

    def layers(self, image_id: str) -> list[str]:
        """Return the lines that build an image, from its base up."""
        image = self.images[image_id]
        below = [line for base in image.base_images for line in self.layers(base.image_id)]
        return [*below, *image.dockerfile_commands]


class _Servicer:
    """A method here takes a request and returns the answer; what is not here is UNIMPLEMENTED."""

    def __init__(self, modal: ModalServer) -> None:
        self.modal = modal

    def __mapping__(self) -> dict[str, Any]:
        unbound: Any = ModalClientBase.__mapping__
        handlers = unbound(self)
        return {path: each._replace(func=self._adapted(path.rpartition("/")[2], each)) for path, each in handlers.items()}

    def __getattr__(self, name: str) -> None:
        """Have no such method; `_adapted` says so."""

    def _adapted(self, name: str, handler: Any) -> Any:
        async def rpc(stream: Any) -> None:
            self.modal.calls[name] += 1
            request = await stream.recv_message()
            if stream.metadata.get("x-modal-token-id", self.modal.token) != self.modal.token:
                raise GRPCError(Status.UNAUTHENTICATED, "Token validation failed")
            if name == "DictContents":
                async for entry in self.dict_contents(request):
                    await stream.send_message(entry)
            elif name in _Servicer.__dict__ and name not in self.modal.down:
                answer = getattr(self, name)(request)
                answer = await answer if inspect.isawaitable(answer) else answer
                await stream.send_message(answer or handler.reply_type())
            else:
                raise GRPCError(Status.UNIMPLEMENTED, name)

        return rpc

    def AuthTokenGet(self, _: Any) -> Any:
        claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + 3600}).encode()).rstrip(b"=").decode()
        return pb.AuthTokenGetResponse(token=f"e30.{claims}.fake")

    def EnvironmentGetOrCreate(self, _: Any) -> Any:
        settings = pb.EnvironmentSettings(image_builder_version="2025.06")
        metadata = pb.EnvironmentMetadata(name="main", settings=settings)
        return pb.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    def AppGetByDeploymentName(self, request: Any) -> Any:
        return pb.AppGetByDeploymentNameResponse(app_id="ap-1" if request.name in self.modal.published else "")

    def AppGetOrCreate(self, request: Any) -> Any:
        if request.app_name not in self.modal.published:
            raise GRPCError(Status.NOT_FOUND, f"No App with name '{request.app_name}' found in environment 'main'.")
        return pb.AppGetOrCreateResponse(app_id="ap-1")

    def AppCreate(self, _: Any) -> Any:
        return pb.AppCreateResponse(app_id="ap-1")

    def AppHeartbeat(self, _: Any) -> Any:
        """Say nothing."""

    AppClientDisconnect = ClientHello = AppHeartbeat

    def AppPublish(self, request: Any) -> Any:
        self.modal.published.append(request.name)
        self.modal.functions = {name: self.modal._drafts[id_] for name, id_ in request.function_ids.items()}
        self.modal.classes = sorted(request.class_ids)
        return pb.AppPublishResponse(url=f"https://modal.example/{request.name}", deployed_at=time.time())

    def MountBatchedCheckExistence(self, _: Any) -> Any:
        return pb.MountBatchedCheckExistenceResponse()  # it has every file already: nothing is uploaded

    def MountGetOrCreate(self, request: Any) -> Any:
        names = sorted(file.filename for file in request.files)
        sum_ = hashlib.sha256(repr([(file.filename, file.sha256_hex) for file in request.files]).encode()).hexdigest()
        self.modal.files[f"mo-{sum_[:12]}"] = names
        metadata = pb.MountHandleMetadata(content_checksum_sha256_hex=sum_)
        return pb.MountGetOrCreateResponse(mount_id=f"mo-{sum_[:12]}", handle_metadata=metadata)

    def ImageGetOrCreate(self, request: Any) -> Any:
        image_id = f"im-{hashlib.sha256(request.image.SerializeToString(deterministic=True)).hexdigest()[:12]}"
        self.modal.images[image_id] = request.image
        metadata = pb.ImageMetadata(image_builder_version=request.builder_version, python_version_info="Python 3.12.0")
        return pb.ImageGetOrCreateResponse(image_id=image_id, result=DONE, metadata=metadata)

    def SecretGetOrCreate(self, request: Any) -> Any:
        name = request.deployment_name
        if name not in self.modal.secrets:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' not found in environment 'main'")
        if missing := [key for key in request.required_keys if key not in self.modal.secrets[name]]:
            raise GRPCError(Status.NOT_FOUND, f"Secret '{name}' is missing key(s): {', '.join(missing)}")
        self.modal.required[name] = list(request.required_keys)
        return pb.SecretGetOrCreateResponse(secret_id=self.modal.id_of("st", name))

    def VolumeGetOrCreate(self, request: Any) -> Any:
        metadata = pb.VolumeMetadata(version=request.version, name=request.deployment_name)
        volume_id = self.modal.id_of("vo", request.deployment_name)
        return pb.VolumeGetOrCreateResponse(volume_id=volume_id, version=request.version, metadata=metadata)

    def FunctionPrecreate(self, request: Any) -> Any:
        return pb.FunctionPrecreateResponse(
            function_id=f"fu-{request.function_name}", handle_metadata=_handle(request.function_name, request)
        )

    def FunctionCreate(self, request: Any) -> Any:
        ranked = [each.function for each in sorted(request.function_data.ranked_functions, key=lambda each: each.rank)]
        ranked = ranked or [request.function]
        name = ranked[0].function_name
        self.modal._drafts[f"fu-{name}"] = ranked
        echo = pb.Function()
        echo.CopyFrom(ranked[0])
        return pb.FunctionCreateResponse(
            function_id=f"fu-{name}", function=echo, handle_metadata=_handle(name, ranked[0]), function_data=_data(ranked)
        )

    def FunctionGet(self, request: Any) -> Any:
        ranked = self._published(request.app_name, request.object_tag)
        return pb.FunctionGetResponse(
            function_id=f"fu-{request.object_tag}",
            handle_metadata=_handle(request.object_tag, ranked[0]),
            function=_data(ranked),
        )

    def ClassGet(self, request: Any) -> Any:
        self._published(request.app_name, f"{request.object_tag}.*")
        return pb.ClassGetResponse(class_id=f"cs-{request.object_tag}", handle_metadata=pb.ClassHandleMetadata())

    def _published(self, app: str, name: str) -> list[pb.Function]:
        if app not in self.modal.published or name not in self.modal.functions:
            raise GRPCError(Status.NOT_FOUND, f"App '{app}' has no '{name}' in environment 'main'.")
        return self.modal.functions[name]

    def FunctionBindParams(self, request: Any) -> Any:
        """Return a class's pool of containers: another one for other values of its parameters, or other options."""
        name = request.function_id.removeprefix("fu-")
        has_values = self.modal.functions[name][0].class_parameter_info.schema  # without any, the client sends a pickle
        values = pb.ClassParameterSet.FromString(request.serialized_params).parameters if has_values else ()
        bound = f"fu-{hashlib.sha256(request.SerializeToString(deterministic=True)).hexdigest()[:12]}"
        self.modal.bound[bound] = " ".join([name, *(value.string_value for value in values)])
        return pb.FunctionBindParamsResponse(
            bound_function_id=bound, handle_metadata=_handle(name, self.modal.functions[name][0])
        )

    def FunctionGetCurrentStats(self, request: Any) -> Any:
        name = self.modal.bound.get(request.function_id, request.function_id.removeprefix("fu-"))
        containers, backlog = self.modal.stats.get(name, (0, 0))
        return pb.FunctionStats(backlog=backlog, num_total_tasks=containers)

    def FunctionGetOutputs(self, request: Any) -> Any:
        ended = self.modal.calls_ended.get(request.function_call_id)
        if ended is None:
            return pb.FunctionGetOutputsResponse(num_unfinished_inputs=1)
        item = pb.FunctionGetOutputsItem(result=ended, data_format=pb.DATA_FORMAT_PICKLE)
        return pb.FunctionGetOutputsResponse(outputs=[item])

    def ClassCreate(self, _: Any) -> Any:
        return pb.ClassCreateResponse(class_id="cs-1", handle_metadata=pb.ClassHandleMetadata())

    def DictGetOrCreate(self, request: Any) -> Any:
        dict_id = self.modal.id_of("di", request.deployment_name)
        self.modal.dicts.setdefault(dict_id, {})
        return pb.DictGetOrCreateResponse(dict_id=dict_id, metadata=pb.DictMetadata(name=request.deployment_name))

    def DictUpdate(self, request: Any) -> Any:
        entries = self.modal.dicts[request.dict_id]
        if request.if_not_exists and any(update.key in entries for update in request.updates):
            return pb.DictUpdateResponse(created=False)
        entries.update((update.key, update.value) for update in request.updates)
        self.modal.touched.update((request.dict_id, update.key) for update in request.updates)
        return pb.DictUpdateResponse(created=True)

    def DictGet(self, request: Any) -> Any:
        value = self.modal.dicts[request.dict_id].get(request.key)
        self.modal.touched.add((request.dict_id, request.key))
        return pb.DictGetResponse(found=value is not None, value=value)

    def DictPop(self, request: Any) -> Any:
        value = self.modal.dicts[request.dict_id].pop(request.key, None)
        return pb.DictPopResponse(found=value is not None, value=value)

    async def dict_contents(self, request: Any) -> AsyncIterator[Any]:
        for key, value in list(self.modal.dicts[request.dict_id].items()):
            yield pb.DictEntry(key=key, value=value)

    def QueueGetOrCreate(self, request: Any) -> Any:
        queue_id = self.modal.id_of("qu", request.deployment_name)
        return pb.QueueGetOrCreateResponse(queue_id=queue_id, metadata=pb.QueueMetadata(name=request.deployment_name))

    def QueuePut(self, request: Any) -> Any:
        for value in request.values:
            self.modal.queues[request.queue_id, request.partition_key].put_nowait(value)

    async def QueueGet(self, request: Any) -> Any:
        """Answer as soon as there is something, or after as long as is asked for."""
        self.modal.listening += 1
        try:
            async with asyncio.timeout(request.timeout):
                return pb.QueueGetResponse(values=[await self.modal.queues[request.queue_id, request.partition_key].get()])
        except TimeoutError:
            return pb.QueueGetResponse()
        finally:
            self.modal.listening -= 1


def _data(ranked: list[pb.Function]) -> Any:
    """Return a function's definition in its newer form, which clients read back."""
    known = pb.FunctionData.DESCRIPTOR.fields_by_name
    data = pb.FunctionData(**{field.name: value for field, value in ranked[0].ListFields() if field.name in known})
    for rank, function in enumerate(ranked):
        data.ranked_functions.add(rank=rank, function=function)
    return data


def _handle(name: str, function: Any) -> Any:
    """Describe a function, and the methods of a class, to whoever will call them."""
    handle = pb.FunctionHandleMetadata(function_name=name, function_type=function.function_type, definition_id=f"de-{name}")
    if isinstance(function, pb.Function):  # and not a first notice of one
        handle.class_parameter_info.CopyFrom(function.class_parameter_info)
    if function.webhook_config.type:
        handle.web_url = f"https://someone--imagine-{name}.modal.example"
    for method, definition in function.method_definitions.items():
        handle.method_handle_metadata[method].CopyFrom(
            pb.FunctionHandleMetadata(
                function_name=definition.function_name,
                function_type=definition.function_type,
                is_method=True,
                use_method_name=method,
                definition_id=f"de-{name}",
            )
        )
    return handle
