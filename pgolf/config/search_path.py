"""Folders of config groups of one's own: named by `hydra.searchpath=[pkg://PACKAGE.conf]` or `--config-dir FOLDER`.

Their YAML files may name classes of one's own. So only a command line and $PGOLF_CONFIG_DIR can name them. No file
does, and installing a package does not.
"""

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from pgolf.config.folders import CONFIG_DIR, OWN_CONF, SEARCH_PATH, conf_dir, config_folders
from pgolf.errors import ConfigError

PACKAGE, FILE = "pkg://", "file://"


def is_search_path(word: str) -> bool:
    """Whether an argument is `hydra.searchpath=...`."""
    return word.startswith(f"{SEARCH_PATH}=")


def use_search_path(words: Sequence[str]) -> list[str]:
    """Trust the folders that `hydra.searchpath=[...]` names, in this process and those that it starts.

    Returns the other arguments. Raises ConfigError with all problems.
    """
    own = [place for word in words if is_search_path(word) for place in places_in(word)]
    if own:
        trust(own)
    return [word for word in words if not is_search_path(word)]


def places_in(word: str) -> list[str]:
    """The folders and packages of `hydra.searchpath=[A,B]`, as written. Raises ConfigError."""
    from hydra.core.override_parser.overrides_parser import OverridesParser  # not above: most commands name none
    from hydra.errors import HydraException

    written = word.partition("=")[2]
    try:
        value = OverridesParser.create().parse_override(word).value()
    except (HydraException, ValueError, RecursionError, AssertionError):
        value = None
    places = value if isinstance(value, list) else [value]
    if not places or not all(isinstance(place, str) and place.strip() for place in places):
        raise ConfigError(
            f"{SEARCH_PATH}: needs a list of packages and folders ({written}). {OWN_CONF}; put a name with special "
            "characters in double quotes"
        )
    return [str(place) for place in places]


def trust(places: Sequence[str], option: str = SEARCH_PATH) -> None:
    """Add folders to those whose config groups are used and whose classes are trusted.

    places: `pkg://PACKAGE.conf`, `file:///FOLDER` or a path. option: that named them. Raises ConfigError.
    """
    folders, problems = [str(folder) for folder in config_folders()[1:]], []
    for place in places:
        try:
            folder = str(folder_of(place))
        except ValueError as reason:
            problems.append(f"{option}: {reason}")
            continue
        if os.pathsep in folder:
            problems.append(f"{option}: holds the sign {os.pathsep} ({folder}). Rename the folder")
        elif folder not in folders:
            folders.append(folder)
    if problems:
        raise ConfigError(*problems)
    os.environ[CONFIG_DIR] = os.pathsep.join(folders)


def folder_of(place: str) -> Path:
    """The folder of `pkg://PACKAGE.conf`, `file:///FOLDER` or a path. Raises ValueError with the reason."""
    if not place.startswith(PACKAGE):
        path = Path(place.removeprefix(FILE)).expanduser().absolute()
        if not path.is_dir():
            raise ValueError(f"is not a folder ({place}). Name a folder of config groups, laid out as in conf/")
        return path
    name = place.removeprefix(PACKAGE).replace("/", ".")
    try:
        spec = find_spec(name)  # imports the packages above it
    except ModuleNotFoundError:
        spec = None
    except Exception as error:  # code of the user, or an odd name
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"cannot be imported ({place}: {reason}). Correct the package") from None
    places = (spec and spec.submodule_search_locations) or ()
    found = [Path(folder) for folder in places if Path(folder).is_dir()]
    if not found:
        raise ValueError(
            f"no such package ({place}). Name an installed package with a folder of config groups, as in "
            f"{PACKAGE}my_package.conf"
        )
    return found[0].absolute()


def own_folder_problems() -> Iterator[str]:
    """Problems of the user's own folders: missing, or with a file that has the name of another choice.

    Hydra would take the first file of that name, without a word.
    """
    own = config_folders()[1:]
    taken = {path.relative_to(conf_dir()): conf_dir() for path in conf_dir().rglob("*.yaml")} if own else {}
    for folder in own:
        if not folder.is_dir():
            yield f"{CONFIG_DIR}: is not a folder ({folder}). Name folders of config groups, laid out as in conf/"
        for path in sorted(folder.rglob("*.yaml")):
            name = path.relative_to(folder)
            if (other := taken.setdefault(name, folder)) != folder:
                yield f"{SEARCH_PATH}: {name} is in {other} and in {folder}. Rename one of them"


def search_path_words() -> list[str]:
    """The user's own folders as an override for Hydra; empty without any."""
    from hydra.core.override_parser.types import Quote, QuotedString

    own = [QuotedString(f"{FILE}{folder}", Quote.double).with_quotes() for folder in config_folders()[1:]]
    return [f"{SEARCH_PATH}=[{','.join(own)}]"] if own else []
