"""Files of a dataset repository on the Hugging Face hub, kept in one folder and fetched only when they are missing or
damaged.

All files come from one commit: the one that the revision named at the first download, noted in `source.json`.
`huggingface_hub` does the transfer and resumes one whose connection drops; a process that was killed keeps every
finished file and begins the unfinished one again. HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured by that
library.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType

from pgolf.data.prepare.cache import locked, writing
from pgolf.data.progress import say
from pgolf.errors import DamagedFile, DataError
from pgolf.machine.files import FULL, describe_os_error, write_lines
from pgolf.machine.plain import read_json
from pgolf.machine.typed import typed

_SOURCE = "source.json"


@dataclass(frozen=True)
class Source:
    """What the files of a folder came from."""

    repo: str
    revision: str
    commit: str


class HubFolder:
    """Local copy of (part of) a dataset repository. No network is used before `fetch` needs it."""

    def __init__(self, folder: Path, repo: str, revision: str) -> None:
        self.folder, self.repo, self.revision = folder, repo, revision

    def fetch(self, name: str, check: Callable[[Path], object]) -> Path:
        """Local path of file `name` of the repository, after `check(path)` passed; `check` raises DataError for a
        damaged file.

        A damaged file is downloaded again once. Raises DataError when it stays damaged, is not in the repository or
        cannot be reached.
        """
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(
                f"{self.repo}: refusing the file name {name!r}, which leaves the repository; the manifest is damaged"
            )
        path = self.folder / name
        if path.exists() and _passes(check, path):
            return path
        with locked(self.folder, f"{self.repo} from the hub"):
            if path.exists() and _passes(check, path):  # another process had the lock and fetched it
                return path
            path.unlink(missing_ok=True)
            self._download(name)
            if not _passes(check, path):
                say(f"  downloading {name} again ...")
                path.unlink()
                self._download(name)
                try:
                    check(path)
                except DataError as error:
                    raise DataError(
                        f"{error}\n{self.repo}/{name} was downloaded twice and is damaged both times;"
                        " try again later or choose another revision"
                    ) from error
        return path

    def _download(self, name: str) -> None:
        hub = _huggingface_hub()
        commit = self._commit(name)
        try:
            hub.hf_hub_download(
                self.repo, name, repo_type="dataset", revision=commit, local_dir=self.folder, force_download=True
            )
        except Exception as error:  # the client raises its own, its HTTP library's and OSErrors
            raise self._unreachable(name, error) from error

    def _commit(self, name: str) -> str:
        """The commit that this folder holds; asked for by the first download and noted."""
        note = self.folder / _SOURCE
        if note.is_file():
            try:
                return typed(Source, read_json(note), "").commit
            except (ValueError, DamagedFile) as error:
                raise DataError(
                    f"{note}: damaged ({error}); delete the folder {self.folder} and download again"
                ) from error
        hub = _huggingface_hub()
        try:
            url = hub.hf_hub_url(self.repo, name, repo_type="dataset", revision=self.revision)
            commit = hub.get_hf_file_metadata(url).commit_hash
        except Exception as error:  # as in `_download`
            raise self._unreachable(name, error) from error
        if not commit:
            raise DataError(
                f"{url}: the server names no commit, so it does not speak the hub's protocol; check HF_ENDPOINT"
            )
        with writing(self.folder.parent):
            self.folder.mkdir(parents=True, exist_ok=True)
            source = {"repo": self.repo, "revision": self.revision, "commit": commit}
            write_lines(note, [json.dumps(source, indent=1, sort_keys=True) + "\n"])
        return str(commit)

    def _unreachable(self, name: str, error: Exception) -> DataError:
        if isinstance(error, OSError) and error.errno in FULL:
            return DataError(
                f"{describe_os_error(error, self.folder)}. Make room, or choose another cache folder with "
                "paths.cache=..."
            )
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no details'}"
        return DataError(
            f"{self.repo}/{name} (revision {self.revision}): cannot be downloaded ({reason}); check the network, "
            "HF_ENDPOINT and the names"
            f" of repo and revision, or copy the file to {self.folder / name}"
        )


def _passes(check: Callable[[Path], object], path: Path) -> bool:
    """Whether `path` passes `check`; the complaint goes to stderr."""
    try:
        check(path)
    except DataError as error:
        say(str(error))
        return False
    return True


def _huggingface_hub() -> ModuleType:
    """The client library, imported only here. Raises DataError with the command that installs it."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise DataError(f"downloading needs huggingface_hub ({error}); pip install pgolf[hub]") from error
    return huggingface_hub
