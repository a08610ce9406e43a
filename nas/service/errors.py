"""What the service says no to, beside input that cannot be used."""

from search_space.errors import InputError


class Missing(InputError):
    """There is no such thing, or it is somebody else's: the two look the same from outside."""


class Conflict(InputError):
    """It cannot be done as things stand."""


class Denied(InputError):
    """The client may not do it."""


class Unknown(InputError):
    """The client did not say who it is."""


class TooMany(InputError):
    """The client asks for too much at once."""
