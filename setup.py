"""What a wheel has beyond pyproject.toml: its code is the package `grpo_lab`, with the YAML in it, so that no name of ours
stands before a user's own `src` or `conf`."""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWheel(build_py):
    """`src` is renamed as a whole, in imports and commands too: processes that it starts, and pickles, need no other name."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # a checkout stays as it is
            return
        built, package = Path(self.build_lib), Path(self.build_lib) / "grpo_lab"
        shutil.rmtree(package, ignore_errors=True)  # of an earlier build
        (built / "src").rename(package)
        for name in ("conf", "sweeps", "curation"):
            (built / name).rename(package / name)
        shutil.copy("constraints.txt", package)
        for path in built.rglob("*.py"):
            path.write_text(re.sub(r"\bsrc(?=\.| import )", "grpo_lab", path.read_text(encoding="utf-8")), encoding="utf-8")


setup(cmdclass={"build_py": BuildWheel})
