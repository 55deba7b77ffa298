"""Law: the memory that may still be taken is the least that machine, control groups and limits leave."""

from __future__ import annotations

import sys

import pytest

from fastsoftmax.runtime import available_memory as memory
from tests.interpreter import run_python

MIB = 2**20


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system of files: 100 MiB are free."""
    for name in ("meminfo", "cgroup", "status"):
        monkeypatch.setattr(
            memory, {"meminfo": "_MEMINFO", "cgroup": "_GROUPS", "status": "_STATUS"}[name], tmp_path / name
        )
    monkeypatch.setattr(memory, "_GROUP_ROOT", tmp_path / "groups")
    (tmp_path / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {100 * 1024} kB\n")
    return tmp_path


def group(folder, **limits):
    folder.mkdir(parents=True)
    for name, value in limits.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{value}\n")


def test_of_the_machine(system):
    assert memory.available_memory() == 100 * MIB


def test_of_a_control_group_and_those_around_it(system):
    (system / "cgroup").write_text("0::/outer/inner\n")
    group(system / "groups" / "outer", memory_max=50 * MIB, memory_current=20 * MIB)
    group(system / "groups" / "outer" / "inner", memory_max="max", memory_current=10 * MIB)
    assert memory.available_memory() == 30 * MIB
    (system / "groups" / "outer" / "memory.current").write_text(f"{60 * MIB}\n")
    assert memory.available_memory() == 0


def test_of_the_first_version_of_control_groups(system):
    (system / "cgroup").write_text("3:cpu,cpuacct:/x\n4:memory:/job\n")
    root = system / "groups" / "memory"
    group(root / "job", memory_limit_in_bytes=70 * MIB, memory_usage_in_bytes=30 * MIB)
    (root / "memory.limit_in_bytes").write_text(f"{2**63 - 4096}\n")  # no limit
    (root / "memory.usage_in_bytes").write_text("5\n")
    assert memory.available_memory() == 40 * MIB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc says what is held")
def test_of_the_address_space():
    status, out, _ = run_python("""
        import resource
        from fastsoftmax.runtime.available_memory import available_memory
        resource.setrlimit(resource.RLIMIT_AS, (2**33, resource.RLIM_INFINITY))
        print(available_memory() < 2**33)
    """)
    assert (status, out.strip()) == (0, "True")
