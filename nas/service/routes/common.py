"""What the routes share: the server, who asks, and the search that is asked for."""

from typing import Annotated

from fastapi import Depends, Path, Request

from nas.service.access import Who
from nas.service.house import House
from nas.service.tables import Search


def _house(request: Request) -> House:
    return request.app.state.house


HouseHere = Annotated[House, Depends(_house)]


def _reader(request: Request, house: HouseHere) -> Who:
    return house.door.enter(request.headers, request.client.host if request.client else "")


Reader = Annotated[Who, Depends(_reader)]


def _submitter(who: Reader) -> Who:
    who.check("submit")
    return who


Submitter = Annotated[Who, Depends(_submitter)]
Identity = Annotated[str, Path(pattern="^[0-9a-f]{16}$", examples=["0123456789abcdef"])]


def _found(identity: Identity, who: Reader, house: HouseHere) -> Search:
    return house.queue.get(identity, who.owner)


Found = Annotated[Search, Depends(_found)]
