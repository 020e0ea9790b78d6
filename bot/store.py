"""What must be remembered: jobs, how far each got, and the pictures. `store_local` and `store_modal` do it.

A job is written down before anybody is told "Drawing…", under the platform's own id for the interaction, so the same
request sent again finds the first one. It stays unfinished until its one outcome has reached somebody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bot.request import Job, Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A job, how far its delivery got, and how it ended; `outcome` is None while it is under way."""

    job: Job
    notes: Mapping[str, Any] = field(default_factory=dict)
    outcome: str | None = None
    made: float = 0.0  # when it was written down, in seconds since 1970


class Store(Protocol):
    """What the rest of the bot may ask of a store."""

    async def claim(self, job: Job) -> Job:
        """Write the job down unless its claim is taken; return the job that holds the claim."""

    async def record(self, job_id: str) -> Record | None:
        """Return what is known of a job."""

    async def note(self, job_id: str, **facts: Any) -> None:
        """Add facts about how far a job got. Each is there for good once this returns."""

    async def finish(self, job_id: str, outcome: str) -> None:
        """Write down how a job ended."""

    async def unfinished(self) -> Sequence[Record]:
        """Return the jobs that somebody still waits for, oldest first."""

    async def durations(self, last: int) -> Sequence[float]:
        """Return the seconds that each of the `last` finished jobs took, from its claim to its outcome.

        Only of those that were to draw, and were promised.
        """

    async def keep(self, job_id: str, pictures: Sequence[Picture]) -> None:
        """Keep the pictures of a job: all of them, or none if this is interrupted."""

    async def pictures(self, job_id: str) -> Sequence[Picture]:
        """Return the kept pictures of a job, in order; none if there are none."""

    async def is_drawn(self, job_id: str) -> bool:
        """Return whether the pictures of a job are kept."""

    async def png(self, job_id: str, index: int) -> bytes | None:
        """Return the file of one kept picture."""

    async def drop(self, job_id: str) -> None:
        """Delete the pictures of a job."""

    async def cancel(self, job_id: str) -> None:
        """Ask whoever carries a job to stop; nothing happens where nobody does."""

    async def cancelled(self, job_id: str) -> None:
        """Wait until somebody cancels a job."""

    async def remember(self, name: str, text: str, *, forever: bool = False) -> None:
        """Write something down under a name, in place of what was there; it is forgotten like a job unless it is `forever`."""

    async def recall(self, name: str) -> str | None:
        """Return what was last written down under a name."""

    async def erase(self, name: str) -> None:
        """Forget what was written down under a name, if anything was."""

    async def first(self, name: str, who: str) -> str:
        """Return who was the first to ask with this name."""

    async def keep_file(self, name: str, content: bytes) -> None:
        """Keep a picture that is no job's outcome, under a name made of hexadecimal digits, in place of what was there."""

    async def file(self, name: str) -> bytes | None:
        """Return what was last kept under a name."""

    async def drop_file(self, name: str) -> None:
        """Delete what was kept under a name, if anything was."""

    async def started_from(self, image: str) -> Sequence[Record]:
        """Return the jobs whose pictures start from a file that was kept, oldest first."""
