"""The command line: what the user types is either understood or refused in one line.

A refusal is one line on stderr with the closest names, exit status 2, no traceback. Real bugs keep
their tracebacks: only a `ValueError` raised by our own code (or a config file) itself, never by
JAX, NumPy or any other library, counts as a refusal; and so does an `OSError`, in which the system
reports on a disk or a folder.
"""

import contextlib
import difflib
import importlib.machinery
import inspect
import io
import os
import re
import shlex
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags, logging
from ml_collections import config_dict

from gm_jax import borders, pages

_PACKAGE = Path(__file__).resolve().parent
_REPOSITORY = _PACKAGE.parent
_HELP = {"-h", "-?", "-help", "--help", "--helpshort", "--helpfull"}


def run(main: Callable[[Sequence[str]], Any]) -> NoReturn:
    """Parses `sys.argv` and calls `main`, as `absl.app.run` does, but refuses misspelt flags.

    A flag `config`, if there is one, was defined by `config_flags.DEFINE_config_file('config')`
    and must be given.

    Args:
      main: called with a list of only the program's name; returns the exit status.
    """
    open_streams()
    app.run(main, flags_parser=_parse)


def open_streams() -> None:
    """Makes standard streams that can be written: call it before anything is opened.

    A closed one (a daemon's, `2>&-`) becomes the null device. Otherwise the next file that is
    opened, such as a checkpoint, would get its number, and what C++ logs would be written there.
    A character that a terminal's encoding lacks is written as its code.
    """
    number = os.open(os.devnull, os.O_RDWR)
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):  # a notebook's or a test's is not
            stream.reconfigure(errors="backslashreplace")
    handler = logging.get_absl_handler().python_handler
    if handler.stream is None:
        handler.setStream(sys.stderr)


def set_verbosity() -> None:
    """Logs only warnings and errors, unless `--verbosity` says otherwise."""
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)


def default_workdir(config_file_argument: str, config: config_dict.ConfigDict) -> str:
    """The work directory of a config: runs/<config>-<variant>.

    Args:
      config_file_argument: the value of `--config`, such as 'configs/agave.py:digits'; without a
        variant, the config's field `variant` names the default.
      config: the config that the file returned.

    Returns:
      A relative path.
    """
    path, _, variant = config_file_argument.partition(":")
    return f"runs/{Path(path).stem}-{variant or config.variant}"


def config_arguments() -> list[str]:
    """The arguments that gave the config: --config=FILE:VARIANT, and the fields that differ.

    A page of the repository is named from its root, from which everyone can repeat the command.
    """
    flag: Any = flags.FLAGS["config"]
    name, colon, variant = flag.config_filename.partition(":")
    page = Path(name).resolve()
    name = str(page.relative_to(_REPOSITORY)) if page.is_relative_to(_REPOSITORY) else name
    fields = [f"--config.{field}={value}" for field, value in flag.override_values.items()]
    return [*map(shlex.quote, [f"--config={name}{colon}{variant}", *fields])]


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turns a refusal raised inside into one line on stderr and exit status 2.

    A refusal is a `ValueError` raised by a `raise` in gm_jax or its programs, or an `OSError`;
    others are bugs, and pass through with their tracebacks. `--verbosity=1` shows the traceback of
    a refusal, too.
    """
    try:
        yield
    except OSError as error:
        logging.debug("refused", exc_info=True)
        _refuse(borders.told(error))
    except ValueError as error:
        if not _raised_in(error, [_PACKAGE, _REPOSITORY / "experiments"]):
            raise
        logging.debug("refused", exc_info=True)
        _refuse(str(error))


def closest(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """The candidates closest to a misspelt name, best first; dotted names also by their last part.

    Args:
      name: the name as typed.
      candidates: the names that exist.
      count: maximum number of names returned.

    Returns:
      Names with a similarity (`difflib`'s ratio) of at least 0.6 and close to the best one's.
    """

    def last_part(dotted: str) -> str:
        return re.split(r"[./]", dotted.removesuffix(".py"))[-1]

    def similarity(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, name, candidate).ratio()
        last = difflib.SequenceMatcher(None, last_part(name), last_part(candidate)).ratio()
        return max(whole, 0.9 * last)

    scored = sorted(((similarity(candidate), candidate) for candidate in candidates), reverse=True)
    best = scored[0][0] if scored else 0.0
    return [name for score, name in scored[:count] if score >= max(0.6, 0.85 * best)]


def _parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags (a `flags_parser` of absl); exits with status 2 if it cannot."""
    has_pages = "config" in flags.FLAGS
    if has_pages and _HELP.intersection(argv):  # absl prints the flags
        print(f"{pages.listing(pages.known_pages())}\n", flush=True)
    try:
        arguments = flags.FLAGS.read_flags_from_files(list(argv), force_gnu=False)
    except flags.Error as error:
        _refuse(str(error))
    config, config_file_argument = None, None
    if has_pages:
        arguments, config_file_argument = _found_configs(arguments)
    if config_file_argument is not None:
        config = _load_config(config_file_argument)
        _check_overrides(arguments, config)
    try:
        rest = flags.FLAGS(arguments)
    except flags.UnrecognizedFlagError as error:
        names = [name for name in flags.FLAGS if "." not in name]
        own = [flag.name for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0])]
        _refuse(f"unknown flag --{error.flagname}{_suggestion(error.flagname, names, own)}")
    except (flags.Error, TypeError, ValueError) as error:
        # The config itself was loaded above, so this is a value that does not fit its field.
        _refuse(f"{error}{_expected(str(error), config)}")
    config_flag: Any = flags.FLAGS["config"] if has_pages else None
    if config is not None:
        _check_tuples(config_flag.override_values, config)
    if has_pages and config_flag.value is None:
        known = pages.known_pages()
        print(pages.listing(known), flush=True)
        _refuse(f"--config is required, for example --config={known[0]}")
    if len(rest) > 1:
        _refuse(f"unexpected argument {rest[1]!r}: flags are written --name=value")
    return rest


def _found_configs(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """The arguments with the path where each `--config` was found, and the last value or None."""
    found, last = list(arguments), None
    for i, argument in enumerate(arguments[1:], 1):
        if argument == "--":
            break
        match = re.fullmatch(r"(--?config)(?:=(.*))?", argument, re.DOTALL)
        if match and match[2] is not None:
            last = _found_config(match[2])
            found[i] = f"{match[1]}={last}"
        elif match and i + 1 < len(arguments):
            last = found[i + 1] = _found_config(arguments[i + 1])
    return found, last


def _found_config(config_file_argument: str) -> str:
    """FILE[:VARIANT], with the repository's file if the current folder has no such file."""
    name, colon, variant = config_file_argument.partition(":")
    if not Path(name).is_file() and (_REPOSITORY / name).is_file():
        name = str(_REPOSITORY / name)
    return f"{name}{colon}{variant}"


def _load_config(config_file_argument: str) -> config_dict.ConfigDict:
    """Runs `get_config` of a config file, refusing a missing file and an unknown variant."""
    name, colon, variant = config_file_argument.partition(":")
    path = Path(name)
    if path.suffix != ".py" or not path.is_file():
        files = {str(file) for file in (*pages.known_pages(), *pages.pages_in(path.parent))}
        _refuse(f"no config file {name!r}{_suggestion(name, files, sorted(files))}")
    loader = importlib.machinery.SourceFileLoader("gm_jax_checked_config", str(path))
    module = types.ModuleType(loader.name)
    module.__file__ = loader.path
    sys.modules[loader.name] = module
    loader.exec_module(module)
    if not hasattr(module, "get_config"):
        _refuse(f"{name} is not a config file: it has no function get_config")
    if colon and not inspect.signature(module.get_config).parameters:
        _refuse(f"{name} has no variants: write --config={name}")
    try:
        return module.get_config(*([variant] if colon else []))
    except ValueError as error:
        if not _raised_in(error, [_PACKAGE, _REPOSITORY / "configs", path.resolve().parent]):
            raise
        choices = re.findall(r"[\w-]+", str(error).partition("choose among")[2])
        _refuse(f"{name}: {error}{_suggestion(variant, choices, [])}")


def _check_overrides(arguments: Sequence[str], config: config_dict.ConfigDict) -> None:
    """Refuses every `--config.field` whose field the config does not have."""
    fields = _field_names(config)
    for argument in arguments[1:]:
        if argument == "--":
            break
        match = re.match(r"--?(?:no)?config\.([\w.\-]*)", argument)
        if match and match[1] not in fields:
            inside = [field for field in fields if field.startswith(match[1] + ".")]
            if inside:
                _refuse(f"config.{match[1]} is a section: give its fields, {', '.join(inside)}")
            suggestion = _suggestion(match[1], fields, list(config))
            _refuse(f"unknown config field {match[1]!r}{suggestion}")


def _field_names(config: config_dict.ConfigDict, prefix: str = "") -> dict[str, Any]:
    """{'train.steps': its value}: the fields that can be given, without sections."""
    fields: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, config_dict.ConfigDict):
            fields |= _field_names(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields


def _check_tuples(overrides: dict[str, Any], config: config_dict.ConfigDict) -> None:
    """Refuses a tuple with elements of another type, which config_flags accepts."""
    fields = _field_names(config)
    for name, given in overrides.items():
        default = fields.get(name)
        if not isinstance(default, tuple) or not default:
            continue
        types = {type(element) for element in default}
        types |= {int} if float in types else set()
        wrong = [element for element in given if type(element) not in types]
        if wrong:
            _refuse(f"--config.{name} has the element {wrong[0]!r}; give it like {default!r}")


def _expected(message: str, config: config_dict.ConfigDict | None) -> str:
    """The values that a flag with an illegal value accepts, as part of a sentence, if known."""
    match = re.match(r"flag --([\w.\-]+)=(.*?): ", message)
    if match is None:
        return ""
    choices = re.search(r"should be one of <(.*)>", message)
    if choices:
        return _suggestion(match[2], choices[1].split("|"), [])
    default = _field_names(config or {}).get(match[1].removeprefix("config."))
    if default is None:
        return ""
    return f"; {match[1]} is of type {type(default).__name__}, for example {default!r}"


def _suggestion(name: str, candidates: Iterable[str], otherwise: Sequence[str]) -> str:
    """'; did you mean ...?' with the closest names, else the available choices."""
    near = closest(name, candidates)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; choose among {', '.join(otherwise)}" if otherwise else ""


def _raised_in(error: BaseException, folders: Sequence[Path]) -> bool:
    """Whether a `raise` statement of a file in one of the folders raised the error."""
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    raised = Path(innermost.filename).resolve()
    on_purpose = (innermost.line or "").startswith("raise")
    return on_purpose and any(raised.is_relative_to(folder) for folder in folders)


def _refuse(message: str) -> NoReturn:
    """Prints the message as one line on stderr and exits with status 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)
