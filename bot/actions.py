"""What can be pressed: which buttons a message has, what each carries, and which request comes of it.

A button knows its job by id, which finds everything while the store remembers it, and who asked, so that a stranger can
be told from them even later. Platforms add what their messages can hold for when the store has forgotten.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bot.errors import Told
from bot.models import MODELS
from bot.request import MOST_VARIATIONS, SEEDS, UPSCALED_AREA, ImageRequest, each_alone, find, fresh_seed
from bot.texts import Phrase, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.courier import Outcome
    from bot.request import Job

VARIATIONS: Final = 4  # at a time


class Action(StrEnum):
    """What a button does."""

    REDRAW = "redraw"
    VARY = "vary"
    UPSCALE = "upscale"
    EDIT = "edit"
    DETAILS = "details"
    DELETE = "delete"
    CANCEL = "cancel"
    DRAW = "draw"  # what was proposed
    DISCARD = "discard"


DELETED: Final = Phrase("Deleted.")
FORBIDDEN: Final = {
    Action.DELETE: Phrase("Only who asked for it, or a moderator, can delete it."),
    Action.CANCEL: Phrase("Only who asked for it, or a moderator, can cancel it."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """A button: what it does, to picture `index` (from 0) of which job, and who asked for that job."""

    action: Action
    job_id: str
    asker: str  # the platform's own id of a person
    index: int = 0

    def pack(self) -> str:
        """Write it down, in fewer than 100 characters."""
        return f"imagine:{self.action}:{self.job_id}:{self.index}:{self.asker}"

    @classmethod
    def unpack(cls, text: str) -> Press | None:
        """Read what `pack` wrote; None for anything else."""
        if not (match := _PACKED.fullmatch(text)):
            return None
        return cls(action=Action(match[1]), job_id=match[2], index=int(match[3]), asker=match[4])


_PACKED: Final = re.compile(rf"imagine:({'|'.join(Action)}):([0-9a-f]{{24}}):([0-9]):(\w{{1,40}})")
PATTERN: Final = _PACKED.pattern


@dataclass(frozen=True, slots=True)
class Button:
    """A button as people see it."""

    label: str
    press: Press
    danger: bool = False
    primary: bool = False


def offered(outcome: Outcome) -> Sequence[Sequence[Button]]:
    """Return the buttons of an outcome, row by row; at most five rows of five."""
    job = outcome.job
    pictures = [picture.request for picture in outcome.pictures]
    general = [_button(job, Action.REDRAW, Phrase("Redraw")), _button(job, Action.EDIT, Phrase("Edit"))]
    if pictures:
        general += [_button(job, Action.DETAILS, Phrase("Details"))]
    general += [replace(_button(job, Action.DELETE, Phrase("Delete")), danger=True)]
    vary = [_numbered(job, Action.VARY, index, len(pictures)) for index, request in enumerate(pictures) if variable(request)]
    upscale = [
        _numbered(job, Action.UPSCALE, index, len(pictures)) for index, request in enumerate(pictures) if upscalable(request)
    ]
    return [general, *_rows(vary), *_rows(upscale)]


def while_drawing(job: Job) -> Sequence[Sequence[Button]]:
    """Return the buttons of a message that says how far a job is."""
    return [[_button(job, Action.CANCEL, Phrase("Cancel"))]]


def so_many(job: Job) -> str:
    """Say how many pictures a job makes, before somebody is asked whether it shall."""
    return say(job.language, "This makes {count} pictures.", count=len(job.alone()))


def of_proposal(job: Job) -> Sequence[Sequence[Button]]:
    """Return the buttons of a question whether to draw so much."""
    draw = Button(say(job.language, "Draw {count} pictures", count=len(job.alone())), _press(job, Action.DRAW), primary=True)
    return [[draw, _button(job, Action.DISCARD, Phrase("No"))]]


def follow(action: Action, requests: Sequence[ImageRequest], index: int) -> Sequence[ImageRequest]:
    """Return the requests that come of pressing a button under the pictures of `requests`."""
    if action is Action.REDRAW:
        shift = fresh_seed()  # the same for all: what had one seed to be compared has one again
        return [_anew(request, shift) for request in requests]
    picture = alone(requests, index)
    if action is Action.VARY:
        return [_varied(picture)]
    if action is Action.UPSCALE and upscalable(picture):
        return [replace(picture, upscale=2)]
    raise Told("That picture is as large as I can make it.")


def alone(requests: Sequence[ImageRequest], index: int) -> ImageRequest:
    """Return the request that draws picture `index` of all of them by itself."""
    pictures = each_alone(requests)
    if index >= len(pictures):
        raise Told("There is no such picture.")
    return pictures[index]


def variable(request: ImageRequest) -> bool:
    """Return whether a picture can be varied: what is a variation of a variation comes to an end somewhere."""
    return len(request.variations) < MOST_VARIATIONS


def upscalable(request: ImageRequest) -> bool:
    """Return whether a picture can come out twice as large."""
    model = MODELS.get(request.model)  # which may be offered no more, when what it drew is shown again
    if model is None or request.upscale > 1:
        return False
    return request.width * request.height <= model.width * model.height * UPSCALED_AREA


def _anew(request: ImageRequest, shift: int) -> ImageRequest:
    """Return the same request with another seed; of variations, other variations of the same picture."""
    if request.variation_strength:
        return replace(request, variation_seed=(request.variation_seed + shift) % SEEDS)
    return replace(request, seed=(request.seed + shift) % SEEDS)


def _varied(picture: ImageRequest) -> ImageRequest:
    """Return variations of a picture; of one that is a variation, they go on from where it is."""
    if not variable(picture):
        raise Told("That picture is as far from the first one as I can go. Redraw gives others like it.")
    step = find(picture.model).variation
    onward = replace(picture, varied=picture.variations, variation_seed=fresh_seed(), variation_strength=step)
    return replace(onward, upscale=1, n=VARIATIONS)


def _press(job: Job, action: Action, index: int = 0) -> Press:
    return Press(action=action, job_id=job.id, asker=job.reply_to["user"], index=index)


def _button(job: Job, action: Action, label: Phrase) -> Button:
    return Button(say(job.language, label), _press(job, action))


def _numbered(job: Job, action: Action, index: int, count: int) -> Button:
    """Return the button of one picture, with its number where there are several."""
    words = {Action.VARY: Phrase("Vary"), Action.UPSCALE: Phrase("Upscale")}[action]
    label = say(job.language, words)
    return Button(f"{label} {index + 1}" if count > 1 else label, _press(job, action, index))


def _rows(buttons: Sequence[Button], width: int = 5) -> list[Sequence[Button]]:
    return [buttons[start : start + width] for start in range(0, len(buttons), width)]
