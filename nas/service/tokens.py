"""Tokens: 256 random bits for a client, of which the database keeps a hash."""

import hashlib
import secrets

from sqlalchemy import delete, select

from nas.service.database import Database, clock
from nas.service.errors import Missing
from nas.service.rows import know
from nas.service.tables import Token
from search_space.checks import or_none, positive_number
from search_space.errors import InputError

SCOPES = ("read", "submit", "admin")
"""Each may do what those before it may: see one's searches, submit and change them, and all of that to everybody's."""


def make_token(database: Database, owner: str, scope: str = "submit", days: float | None = None) -> str:
    """A new token, which is shown this once.

    Args:
        database: of the service.
        owner: whose it is.
        scope: what it may do.
        days: after which it ends; None means never.

    Raises:
        InputError: there is no such scope, or no such name can be had.
    """
    check_owner("--owner", owner)
    if scope not in SCOPES:
        raise InputError("--scope", scope, f"one of {', '.join(SCOPES)}")
    or_none(positive_number, "--days", days)
    secret = f"nas_{secrets.token_urlsafe(32)}"
    with database.write() as session:
        know(session, owner)
        time = clock(session)
        expires = None if days is None else time + days * 24 * 3600.0
        token = Token(id=secrets.token_hex(4), owner=owner, hash=_hash(secret), scope=scope, created=time)
        token.expires = expires
        session.add(token)
    return secret


def find_token(database: Database, secret: str) -> Token | None:
    """The token, if it is one that has not ended."""
    with database.read() as session:
        token = session.scalar(select(Token).where(Token.hash == _hash(secret)))
        return None if token is None or (token.expires or 2.0**60) < clock(session) else token


def tokens(database: Database) -> list[Token]:
    """All of them."""
    with database.read() as session:
        return list(session.scalars(select(Token).order_by(Token.created)))


def revoke_token(database: Database, identity: str) -> None:
    """Ends a token.

    Raises:
        Missing: there is none of that identity.
    """
    with database.write() as session:
        found = session.execute(delete(Token).where(Token.id == identity).returning(Token.id)).first()
        if found is None:
            raise Missing("--revoke", identity, "the identity of a token, as `nas token --list` shows it")


def check_owner(key: str, name: str) -> str:
    """The name of a user.

    Raises:
        InputError: it cannot be one.
    """
    if not 0 < len(name) <= 100 or not name.isascii() or not name.isprintable() or " " in name or "/" in name:
        raise InputError(key, name, "a name of at most 100 letters, digits and signs, none of them a space or slash")
    return name


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
