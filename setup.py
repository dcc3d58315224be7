"""The extension modules and their build switches, all read from the environment:

FASTLOCK_CAS=1                     take lock words by compare-and-swap even where a GIL makes a plain store enough
FASTLOCK_SANITIZE=thread|address   build with that sanitizer
FASTLOCK_DRIVER=1                  also build _driver, which lets tests run the core on native threads without the GIL
FASTLOCK_FREETHREADING=1           declare the modules fit for a free-threaded interpreter, which otherwise takes the GIL for them
"""

from __future__ import annotations

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

GRAPH = ("_topology", "_segments", "_evidence", "_records", "_judge", "_store", "_learn", "_graph", "_graph_py")
ORDER = ("_classes", "_clocks", "_order_facts", "_order")
CORE = ("_mapping", "_sites", "_task_names", "_table", "_tasks", "_told", "_shares", "_woken", "_wakers", "_contended", "_park", "_found", "_waits", "_needs", "_copy", "_stall_text", "_stall", "_resolve", *GRAPH, "_options", "_facts", "_shown", *ORDER, "_delays", "_asked", "_loop_facts", "_block", "_loops", "_overdue", "_stuck", "_stuck_facts", "_core", "_reused", "_awaited", "_lent")
AIO = ("_awaits", "_late", "_aio", "_aio_locks", "_aio_shared", "_aio_semaphores", "_aio_rwlock", "_aio_conditions", "_aio_barrier", "_aio_multiple")
MODULES = (*CORE, "_sync", "_rwlock", "_nesting", "_results", "_joins", "_declared", "_simple", "_listen", "_last_thread", *AIO)
PACKAGE = "src/fastlock"
HEADERS = [f"{PACKAGE}/{name}.h" for name in ("_native", "_binding", "_asyncio", "_futures", "_frames", "_gil", "_listen", "_memfd", "_peek", "_types", "_watcher")]
PTH = "fastlock.pth"


def switch(name: str) -> bool:
    value = os.environ.get(name, "")
    if value not in ("", "0", "1"):
        raise SystemExit(f"{name}={value!r}: must be 0 or 1")
    return value == "1"


CAS = switch("FASTLOCK_CAS")
DRIVER = switch("FASTLOCK_DRIVER")
FREETHREADING = switch("FASTLOCK_FREETHREADING")
SANITIZE = os.environ.get("FASTLOCK_SANITIZE", "")
if SANITIZE not in ("", "thread", "address"):
    raise SystemExit(f"FASTLOCK_SANITIZE={SANITIZE!r}: must be thread or address")


def variant() -> str:
    """A build directory of its own for each interpreter and combination: distutils compares time stamps only, never the flags."""
    parts = ["cas"] * CAS + ["driver"] * DRIVER + ["ft"] * FREETHREADING + [SANITIZE] * bool(SANITIZE)
    return "-".join([sys.implementation.cache_tag, *parts])


def translated() -> str:
    """Where Cython puts its C, which is the same for every interpreter and all of the switches but one: nothing else asks for it anew."""
    return "build/c-ft" if FREETHREADING else "build/c"


def extension(name: str) -> Extension:
    if SANITIZE:
        flags = ["-O1", "-g1", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZE}"]
    else:
        flags = ["-O3", "-g0"]  # a sixth of the compiler's time would go into what a debugger reads
    if name in AIO:
        flags += ["-fno-inline-functions-called-once"]  # what few waits need stays apart: a task's wait pays for each cold line of code
    if sys.platform == "linux":
        flags += ["-fno-plt", "-momit-leaf-frame-pointer"]  # calls into the interpreter skip a jump; leaves keep no frame for profilers
    return Extension(
        f"fastlock.{name}",
        [f"{PACKAGE}/{name}.pyx"],
        include_dirs=[PACKAGE],
        define_macros=[("FASTLOCK_CAS", "1")] if CAS else [],
        depends=HEADERS,
        extra_compile_args=flags,
        extra_link_args=[f"-fsanitize={SANITIZE}"] if SANITIZE else [],
    )


class build_py_and_pth(build_py):
    """Puts fastlock.pth where an installation looks for it: at the top of site-packages."""

    def run(self) -> None:
        super().run()
        # An editable wheel takes nothing but links from build_lib, so the file goes where that wheel is assembled.
        install = self.get_finalized_command("install")
        self.copy_file(f"src/{PTH}", install.install_lib if self.editable_mode else self.build_lib)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), os.path.join(self.build_lib, PTH)]


setup(
    license="MIT",
    ext_modules=cythonize(
        [extension(name) for name in (*MODULES, *["_driver"] * DRIVER)],
        build_dir=translated(),
        compiler_directives={"freethreading_compatible": True} if FREETHREADING else {},
        nthreads=0,
    ),
    cmdclass={"build_py": build_py_and_pth},
    options={"build": {"build_base": f"build/{variant()}"}, "build_ext": {"parallel": os.cpu_count()}},
)
