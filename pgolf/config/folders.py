"""The folders of the configuration and of the cache."""

import os
from pathlib import Path

from pgolf.errors import ConfigError

CONFIG_DIR = "PGOLF_CONFIG_DIR"
OWN_CONF = "Name a folder of your own config groups with --config-dir FOLDER"  # the remedy of errors


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
    """Folders of config groups that the user trusts: pgolf's own, and the folder in $PGOLF_CONFIG_DIR.

    `pgolf.train --config-dir FOLDER` sets that variable, so that the processes of a sweep use the same folder. A
    configuration file cannot set it.
    """
    own = os.environ.get(CONFIG_DIR)
    return [conf_dir(), *([Path(own).expanduser().absolute()] if own else [])]


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
