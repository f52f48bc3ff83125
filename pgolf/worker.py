"""`python -m pgolf.worker RUN_DIR`: runs the saved configuration of one run folder, as one rank where torchrun started several."""

import sys
from pathlib import Path

from pgolf.config import load
from pgolf.errors import ConfigError, PgolfError
from pgolf.run import execute


def main() -> int:
    """Exit code 0 when the record is ok, 1 when it is not, 2 without a usable folder, 130 when interrupted."""
    try:
        if len(sys.argv) != 2:
            raise ConfigError("usage: python -m pgolf.worker RUN_DIR")
        folder = Path(sys.argv[1])
        config = load(folder / "config.yaml")
        if not isinstance(config.get("run"), dict):
            raise ConfigError(f"{folder / 'config.yaml'}: has no section `run`. Give a folder that pgolf.train made")
        return 0 if execute(config, folder, config["run"])["status"] == "ok" else 1
    except PgolfError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
