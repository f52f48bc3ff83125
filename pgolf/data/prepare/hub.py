"""Local copies of files of a dataset repository on the Hugging Face hub, downloaded if they are missing or damaged.

All files come from one commit. It is the one that the revision named at the first download, recorded in `source.json`.
`huggingface_hub` transfers the files, resumes after a lost connection, and reads HF_ENDPOINT, HF_TOKEN and
HF_HUB_OFFLINE. After a killed process, complete files remain, and an incomplete one is downloaded again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType

from pgolf.data.prepare.cache import locked, require_may_create, writing
from pgolf.data.progress import say
from pgolf.errors import DamagedFile, DataError
from pgolf.machine.files import FULL, describe_os_error, write_lines
from pgolf.machine.plain import read_json
from pgolf.machine.typed import typed

_SOURCE = "source.json"


@dataclass(frozen=True)
class Source:
    """The origin of the files in a folder: the content of `source.json`."""

    repo: str
    revision: str
    commit: str


class HubFolder:
    """Local copy of (part of) a dataset repository. No network is used before `fetch` needs it."""

    def __init__(self, folder: Path, repo: str, revision: str) -> None:
        self.folder, self.repo, self.revision = folder, repo, revision

    def fetch(self, name: str, check: Callable[[Path], object]) -> Path:
        """The local path of file `name` of the repository, downloaded if necessary.

        check: called with the path; raises DataError for a damaged file, which is then downloaded once more. Raises
        DataError if the file is still damaged, does not exist in the repository, or cannot be downloaded.
        """
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(
                f"{self.repo}: the manifest is damaged, it names a file outside the repository ({name!r}). Choose "
                "another revision"
            )
        path = self.folder / name
        if path.exists() and _passes(check, path):
            return path
        require_may_create(path)
        with locked(self.folder, f"{self.repo} from the hub"):
            if path.exists() and _passes(check, path):  # another process had the lock and downloaded it
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
                        f"{error}\n{self.repo}/{name} was downloaded twice and is damaged both times."
                        " Try again later or choose another revision"
                    ) from error
        return path

    def _download(self, name: str) -> None:
        hub = _huggingface_hub()
        commit = self._commit(name)
        try:
            hub.hf_hub_download(
                self.repo, name, repo_type="dataset", revision=commit, local_dir=self.folder, force_download=True
            )
        except Exception as error:  # errors of the client, of its HTTP library, and OSError
            raise self._unreachable(name, error) from error

    def _commit(self, name: str) -> str:
        """The commit of the files in this folder. The first download asks the hub for it, and records it."""
        source_path = self.folder / _SOURCE
        if source_path.is_file():
            try:
                return typed(Source, read_json(source_path), "").commit
            except (ValueError, DamagedFile) as error:
                raise DataError(
                    f"{source_path}: damaged ({error}). Delete the folder {self.folder} and download again"
                ) from error
        hub = _huggingface_hub()
        try:
            url = hub.hf_hub_url(self.repo, name, repo_type="dataset", revision=self.revision)
            commit = hub.get_hf_file_metadata(url).commit_hash
        except Exception as error:  # as in `_download`
            raise self._unreachable(name, error) from error
        if not commit:
            raise DataError(
                f"{url}: the server does not name a commit, so it is not a Hugging Face hub. Check HF_ENDPOINT"
            )
        with writing(self.folder.parent):
            self.folder.mkdir(parents=True, exist_ok=True)
            source = {"repo": self.repo, "revision": self.revision, "commit": commit}
            write_lines(source_path, [json.dumps(source, indent=1, sort_keys=True) + "\n"])
        return str(commit)

    def _unreachable(self, name: str, error: Exception) -> DataError:
        if isinstance(error, OSError) and error.errno in FULL:
            return DataError(
                f"{describe_os_error(error, self.folder)}. Make room, or choose another cache folder with "
                "paths.cache=..."
            )
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no details'}"
        return DataError(
            f"{self.repo}/{name} (revision {self.revision}): cannot be downloaded ({reason}). Check the network, "
            f"HF_ENDPOINT and the names of repo and revision, or copy the file to {self.folder / name}"
        )


def _passes(check: Callable[[Path], object], path: Path) -> bool:
    """Whether `path` passes `check`. An error message goes to stderr."""
    try:
        check(path)
    except DataError as error:
        say(str(error))
        return False
    return True


def _huggingface_hub() -> ModuleType:
    """The client library, imported only here. Raises DataError, with the command that installs it, if it is missing."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise DataError(f"downloading needs huggingface_hub ({error}). Run `pip install pgolf[hub]`") from error
    return huggingface_hub
