"""The folders of the configuration and of the cache."""

import os
from pathlib import Path

from pgolf.errors import ConfigError

CONFIG_DIR = "PGOLF_CONFIG_DIR"
SEARCH_PATH = "hydra.searchpath"
# the remedy of errors
OWN_CONF = f"Name config groups of your own with {SEARCH_PATH}=[pkg://PACKAGE.conf] or [file:///FOLDER]"


def conf_dir() -> Path:
    """The folder of config groups: beside the package in a checkout, inside the package in a wheel.

    Raises ConfigError if there is none.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package.parent / "conf", package / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise ConfigError(f"conf: is missing beside and inside the package ({package}). Install pgolf again")


def config_folders() -> list[Path]:
    """Folders of config groups that the user trusts: pgolf's own, and those in $PGOLF_CONFIG_DIR.

    A command line sets that variable (pgolf.config.search_path), so that the processes of a sweep use the same folders.
    A configuration file cannot set it. Several folders are separated as in $PATH.
    """
    own = (name for name in os.environ.get(CONFIG_DIR, "").split(os.pathsep) if name)
    return [conf_dir(), *(Path(name).expanduser().absolute() for name in own)]


def conf_stamp() -> tuple[object, ...]:
    """Name, modification time and size of every YAML file of the configuration. It changes whenever a file does."""
    files = (
        (str(path), path.stat())
        for path in sorted(path for folder in config_folders() for path in folder.rglob("*.yaml"))
    )
    return tuple((name, status.st_mtime_ns, status.st_size) for name, status in files)


def cache_dir() -> str:
    """The user's cache folder: $PGOLF_CACHE, or `pgolf` in $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return os.environ.get("PGOLF_CACHE") or str(Path(base) / "pgolf")
