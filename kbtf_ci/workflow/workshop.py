# SPDX-FileCopyrightText: The kbtf-ci authors
# SPDX-License-Identifier: GPL-2.0-or-later

"""The tools that cases are made with, in the toolchain image; what they made is kept beside the build."""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kbtf_ci.btf.cases.case import NotThereError
from kbtf_ci.btf.cases.workshop import Output, Vmlinux
from kbtf_ci.errors import InfrastructureError
from kbtf_ci.infra.runner import FILES, Command, Completed, Mount, Runner, run
from kbtf_ci.infra.whole import whole_file
from kbtf_ci.kernel.external import copy_build, encode_vmlinux, longer_source, make_external, relink
from kbtf_ci.kernel.kbuild import Kbuild
from kbtf_ci.kernel.pahole import ask_kbuild

_NOTHING = Path("/dev/null")


@dataclass(frozen=True)
class Shop:
    """A workshop below ``scratch``.

    ``kbuild`` is the build that the kernel came from, ``lacking`` says why there is none. Commands on it come
    to the same as long as its vmlinux and the toolchain's image do, so what they made is kept with it.
    """

    runner: Runner
    scratch: Path
    kbuild: Kbuild | None = None
    lacking: str = ""

    def tool(self, argv: Sequence[str], files: Mapping[str, bytes], wanted: Sequence[str]) -> Output:
        """Run a program in FILES, with ``files`` in it, and return those that are ``wanted``."""
        with self._folder(files) as folder:
            mounts = (Mount(folder, FILES, writable=True),)
            command = Command(tuple(argv), mounts, workdir=FILES, label="case")
            return _output(run(self.runner, command), folder, wanted)

    def external(
        self,
        files: Mapping[str, bytes],
        wanted: Sequence[str],
        variables: Sequence[str] = (),
        vmlinux: Vmlinux | bytes = Vmlinux.WHOLE,
    ) -> Output:
        """Run ``make M=`` on an out-of-tree module's ``files``."""
        build = self._build()
        if vmlinux is not Vmlinux.WHOLE:
            self._overlaid()

        def work() -> Output:
            with self._folder(files) as folder, self._folder({}) as beside:
                over = {} if vmlinux is Vmlinux.WHOLE else {"vmlinux": _vmlinux(build, vmlinux, beside)}
                return _output(make_external(build, folder, variables, over), folder, wanted)

        return self._kept(work, "external", files, wanted, variables, vmlinux)

    def relinked(self, module: str, addition: str) -> Output:
        """Add C to a file that is built in, make vmlinux and then ``module``, in a copy of the build."""
        build = self._build()
        self._overlaid()
        file = next((one for one in build.modules if Path(one).stem.replace("-", "_") == module), "")
        if not file:
            raise NotThereError(f"its build has no module {module}")

        def work() -> Output:
            with self._folder({"source": longer_source(build, addition)}) as beside, self._folder({}) as copy:
                copied = copy_build(build, copy)
                if copied.status != 0:
                    why = copied.text.strip()[-300:]
                    raise InfrastructureError(f"{build.build_dir}: the build could not be copied: {why}")
                done = _output(relink(build, copy, beside / "source", file), copy, (file,))
                return Output(done.status, done.lines, {f"{module}.ko": data for data in done.files.values()})

        return self._kept(work, "relinked", module, addition)

    def encoded(self, *flags: str) -> bytes:
        """Return vmlinux's BTF as the build's pahole writes it, with ``flags`` behind the build's own."""
        build = self._build()

        def work() -> Output:
            with self._folder({}) as folder:
                return _output(encode_vmlinux(build, ask_kbuild(build), folder, flags), folder, ("btf",))

        done = self._kept(work, "encoded", flags)
        if done.status != 0 or "btf" not in done.files:
            raise NotThereError(f"pahole does not take {' '.join(flags)}: {' '.join(done.lines[-1:])}")
        return done.files["btf"]

    def source(self, path: str) -> bytes:
        """Return a file of the kernel's source."""
        try:
            return (self._build().source.path / path).read_bytes()
        except OSError as error:
            raise NotThereError(f"its source has no {path}: {error.strerror}") from error

    def _build(self) -> Kbuild:
        if self.kbuild is None:
            raise NotThereError(self.lacking)
        return self.kbuild

    def _overlaid(self) -> None:
        """Raise NotThereError where no file can stand in the place of another."""
        if not self.runner.contained:
            raise NotThereError("it puts a file in the place of another, which takes --engine container")

    @contextmanager
    def _folder(self, files: Mapping[str, bytes]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="case-") as name:
            folder = Path(name)
            for file, data in files.items():
                (folder / file).write_bytes(data)
            yield folder

    def _kept(self, work: Callable[[], Output], *what: Any) -> Output:
        """Return what ``work`` comes to, or came to before on the same build."""
        build = self._build()
        key = hashlib.sha256(repr((build.toolchain, _vmlinux_stamp(build), what)).encode()).hexdigest()
        path = build.build_dir / ".kbtf-ci" / "repro" / f"{key[:32]}.json"
        with suppress(OSError, ValueError, KeyError, TypeError):
            return _read(json.loads(path.read_bytes()))
        done = work()
        with whole_file(path) as file:
            file.write(json.dumps(_document(done)).encode())
        return done


def _vmlinux_stamp(build: Kbuild) -> str:
    """Return what tells a vmlinux from another one, as make would, and which pahole wrote its BTF."""
    status = (build.build_dir / "vmlinux").stat()
    return f"{status.st_size}:{status.st_mtime_ns}:{build.pahole}:{build.variables}"


def _vmlinux(build: Kbuild, wanted: Vmlinux | bytes, beside: Path) -> Path:
    """Return the file that make is to find as vmlinux; a device is none, for a shell's ``[ -f ]``."""
    if wanted is Vmlinux.ABSENT:
        return _NOTHING
    path = beside / "vmlinux"
    if isinstance(wanted, bytes):
        path.write_bytes(wanted)
        return path
    whole = build.build_dir / "vmlinux"
    with whole.open("rb") as file:
        path.write_bytes(file.read(whole.stat().st_size // 2))
    return path


def _output(done: Completed, folder: Path, wanted: Sequence[str]) -> Output:
    files = {name: (folder / name).read_bytes() for name in wanted if (folder / name).is_file()}
    return Output(done.status, tuple(done.text.splitlines()), files)


def _document(done: Output) -> dict[str, Any]:
    files = {name: base64.b64encode(data).decode() for name, data in done.files.items()}
    return asdict(done) | {"files": files}


def _read(values: Any) -> Output:
    files = {str(name): base64.b64decode(data) for name, data in values["files"].items()}
    return Output(int(values["status"]), tuple(map(str, values["lines"])), files)
