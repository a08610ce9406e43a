"""What the commands share: how bad input and a stop end them, and how they are declared."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import click

from nas import __version__
from search_space.errors import InputError, line, one_of
from workers.errors import WorkersLost

ROOMS = ("search_space", "kernels", "workers", "tracking")
"""Packages beside this one that are installed with it."""
EPILOG = "Machine-readable output goes to standard output, progress to standard error. Bad input ends with code 2."


class Group(click.Group):
    """Commands that end with one plain line and code 2 on bad input, and with 130 when interrupted."""

    def main(self, args=None, prog_name="nas", **extra):  # type: ignore[override]  # noqa: D102
        _open_streams()
        try:
            _check_place()
            code = super().main(args, prog_name, **{**extra, "standalone_mode": False})
        except InputError as error:
            fail(str(error))
        except WorkersLost as error:
            fail(str(error), code=1)
        except ImportError as error:
            if (other := _foreign_room(error)) is None:
                raise
            fail(other, code=1)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            sys.exit(2)
        except click.ClickException as error:
            fail(" ".join(error.format_message().split()))
        except (KeyboardInterrupt, click.Abort):
            sys.exit(130)
        except BrokenPipeError:
            sys.exit(0)
        except OSError as error:  # a disk that is full, say
            fail(f"{line(error.filename or 'files')}: {line(error.strerror or error, 500)}", code=1)
        sys.exit(code if isinstance(code, int) else 0)

    def resolve_command(self, ctx, args):  # noqa: D102
        if self.get_command(ctx, args[0]) is None:
            raise InputError("command", args[0], one_of(args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


def _foreign_room(error: ImportError) -> str | None:
    """What to do where another package has the name of one of ours; None where that is not what was wrong."""
    room = (error.name or "").partition(".")[0]
    found = find_spec(room) if room in ROOMS else None
    places = (found.submodule_search_locations or [found.origin or ""]) if found else []
    home = Path(__file__).parents[2] / room
    if not places or home.resolve() in [Path(place).resolve() for place in places]:
        return None
    return (
        f"{room}={places[0]}: expected the package {room} of hybrid-nas; another one of that name hides it: "
        f"install hybrid-nas into an environment of its own, or take the other out (pip uninstall {room})"
    )


def fail(said: str, code: int = 2) -> None:
    """Ends the program with one line on standard error."""
    say(f"nas: {said}")
    sys.exit(code)


def say(text: str) -> None:
    """Prints to standard error; where that takes nothing, the command goes on."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _open_streams() -> None:
    """Puts the null device in the place of standard streams that are closed: the next file would get their numbers."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def _check_place() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InputError("working directory", ".", "a folder that is still there") from None


@click.group(cls=Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nas")
def main() -> None:
    """Searches for hybrid language models: which token mixer goes in which layer."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr, force=True)
    logging.getLogger("nas").setLevel(logging.INFO)


folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
trust_option = click.option(
    "--trust", is_flag=True, envvar="NAS_TRUST", help="Import the code that the folder names by dotted paths."
)
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
config_option = click.option(
    "--config", "source", default="laptop", show_default=True, help="A preset, or a YAML file."
)


@contextmanager
def terminable() -> Iterator[None]:
    """Makes a request to terminate end the command as Ctrl-C does."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
