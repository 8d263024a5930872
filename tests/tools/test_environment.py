"""The pins: complete, exact, as pyproject.toml asks, the same names for conda, and no word of where they came from."""

from __future__ import annotations

import re
import sysconfig
import tomllib
from importlib.metadata import Distribution, distributions
from typing import Any

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from graders.course import COURSE_ROOT

OWN = "systems-that-last"


def project() -> dict[str, Any]:
    return tomllib.loads((COURSE_ROOT / "pyproject.toml").read_text())["project"]


def asked() -> dict[str, Requirement]:
    """What pyproject.toml asks for, extras included, by name."""
    lines = [
        *project()["dependencies"],
        *(line for extra in project()["optional-dependencies"].values() for line in extra),
    ]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def pins() -> dict[str, Requirement]:
    lines = (COURSE_ROOT / "requirements.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len({canonicalize_name(pin.name) for pin in found}) == len(found)
    return {canonicalize_name(pin.name): pin for pin in found}


def conda() -> dict[str, Requirement]:
    listed = yaml.safe_load((COURSE_ROOT / "environment.yml").read_text())["dependencies"]
    lines = [line for item in listed for line in (item["pip"] if isinstance(item, dict) else [item])]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def installed() -> list[Distribution]:
    """What is in the environment itself, without what other packages carry in their own folders."""
    return list(distributions(path=[sysconfig.get_path("purelib")]))


def test_every_pin_is_exact():
    for name, pin in pins().items():
        assert re.fullmatch(r"==[\w.!+]+", str(pin.specifier)), name


def test_pins_satisfy_pyproject():
    for name, requirement in asked().items():
        version = next(iter(pins()[name].specifier)).version
        assert requirement.specifier.contains(version, prereleases=True), name


def test_pins_are_complete():
    """Whatever an installed package needs, on Linux and macOS, is pinned too: pip has nothing left to choose."""
    pinned = pins()
    environments = [{**default_environment(), "extra": "", "sys_platform": name} for name in ("linux", "darwin")]
    for environment in environments:
        environment["platform_system"] = environment["sys_platform"].capitalize()
    for distribution in installed():
        if canonicalize_name(distribution.name) not in pinned:
            continue
        for line in distribution.requires or []:
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate(environment) for environment in environments):
                assert canonicalize_name(needed.name) in pinned, f"{distribution.name} needs {line}"


def test_the_pinned_versions_are_the_installed_ones():
    if not (COURSE_ROOT / ".venv").is_dir():
        pytest.fail("This environment was not made from requirements.txt; run make test.")
    versions = {canonicalize_name(found.name): found.version for found in installed()}
    for name, pin in pins().items():
        if pin.marker is None or pin.marker.evaluate():
            assert pin.specifier.contains(versions[name], prereleases=True), name


def test_every_pin_takes_the_oldest_python_that_the_project_takes():
    """Systems keep the first releases of a Python: Debian 12 has 3.11.2."""
    oldest = SpecifierSet(project()["requires-python"])
    first = f"{next(iter(oldest)).version}.0"
    for distribution in installed():
        wanted = SpecifierSet(distribution.metadata.get("Requires-Python", ""))
        assert wanted.contains(first), f"{distribution.name} {distribution.version} asks for Python {wanted}"


def test_conda_lists_the_same_names_and_bounds_and_three_of_its_own():
    listed = conda()
    assert set(listed) - set(asked()) == {"python", "pip", "prometheus"}
    assert {name: str(requirement.specifier) for name, requirement in asked().items()} == {
        name: str(requirement.specifier) for name, requirement in listed.items() if name in asked()
    }


def test_conda_takes_prometheus_on_the_platforms_that_have_it():
    line = next(line for line in (COURSE_ROOT / "environment.yml").read_text().splitlines() if "- prometheus " in line)
    assert "linux64" in line
    assert "osx64" in line


def test_conda_takes_the_pythons_that_the_project_takes():
    assert conda()["python"].specifier.contains("3.11.0")
    assert not conda()["python"].specifier.contains("3.10.9")
    assert project()["requires-python"] == ">=3.11"


def test_no_file_names_a_package_index():
    for name in ("requirements.txt", "pyproject.toml", "environment.yml"):
        text = (COURSE_ROOT / name).read_text()
        assert not re.search(r"https?://|file:|index-url|find-links", text), name
