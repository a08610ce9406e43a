"""Searches: submit, list, look at, stop, pause, resume, prolong, delete."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from nas.service.routes.common import Found, HouseHere, Identity, Reader, Submitter
from nas.service.schemas import Page, Prolong, SearchDetail, SearchShown, State, Submit
from search_space.errors import InputError

WORD = r"^[^\x00]{0,100}$"

router = APIRouter(prefix="/v1/searches", tags=["searches"])


@router.post("", status_code=201, responses={200: {"model": SearchShown, "description": "It was submitted before."}})
def submit(asked: Submit, who: Submitter, house: HouseHere, response: Response) -> SearchShown:
    """Submits a search."""
    if asked.preset is not None and asked.config is not None:
        raise InputError("preset", asked.preset, "a preset or a config, not both")
    search, new = house.submit(who, asked.content, asked.overrides, asked.name, asked.priority, asked.key)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/searches/{search.id}"
    return SearchShown.of(search)


@router.get("")
def searches(
    who: Reader,
    house: HouseHere,
    state: Annotated[list[State], Query(description="States that they are in; any by default.")] = [],  # noqa: B006
    name: Annotated[str | None, Query(pattern=WORD, description="Part of the name.")] = None,
    owner: Annotated[str | None, Query(pattern=WORD, description="Whose, for administrators.")] = None,
    before: Annotated[str | None, Query(pattern="^[0-9a-f]{16}$", description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Page:
    """Lists your searches, the newest first; those of everybody, for administrators."""
    found = house.queue.searches(who.owner or owner, state, name, before, limit)
    return Page(searches=[SearchShown.of(each) for each in found], next=found[-1].id if len(found) == limit else None)


@router.get("/{identity}")
def status(search: Found, house: HouseHere) -> SearchDetail:
    """Shows how far a search is, and what happened to it."""
    return SearchDetail.of_queue(search, house.queue)


@router.post("/{identity}/stop", status_code=202)
def stop(identity: Identity, who: Submitter, house: HouseHere) -> SearchShown:
    """Ends a search before its time. What it found stays; resuming or prolonging it goes on."""
    return SearchShown.of(house.change(who, identity, "stop"))


@router.post("/{identity}/pause", status_code=202)
def pause(identity: Identity, who: Submitter, house: HouseHere) -> SearchShown:
    """Gives a search's cores to others until it is resumed."""
    return SearchShown.of(house.change(who, identity, "pause"))


@router.post("/{identity}/resume", status_code=202)
def resume(identity: Identity, who: Submitter, house: HouseHere) -> SearchShown:
    """Goes on with a search that was paused or stopped, or that failed."""
    return SearchShown.of(house.change(who, identity, "run"))


@router.post("/{identity}/prolong", status_code=202)
def prolong(identity: Identity, asked: Prolong, who: Submitter, house: HouseHere) -> SearchShown:
    """Gives a search a larger budget, and goes on with it, whatever its state."""
    budget = asked.model_dump(exclude_none=True)
    if not budget:
        raise InputError("trials", None, "a number of trials or seconds")
    return SearchShown.of(house.change(who, identity, "run", budget))


@router.delete("/{identity}", status_code=202)
def delete(identity: Identity, who: Submitter, house: HouseHere) -> SearchShown:
    """Removes a search with all that it found. One that runs is stopped first."""
    return SearchShown.of(house.change(who, identity, "delete"))
