"""The unit file: its directives, and that systemd accepts it, where systemd is installed."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[4]
UNIT = ROOT / "systemd" / "sbtc-watcher.service"

EXPECTED = {
    "Unit": {
        "Wants": ["network-online.target"],
        "After": ["network-online.target"],
        "StartLimitIntervalSec": ["0"],
    },
    "Service": {
        "Type": ["notify"],
        "ExecStart": ["/opt/sbtc-watcher/bin/sbtc-watcher run"],
        "TimeoutStartSec": ["10min"],
        "WatchdogSec": ["10min"],
        "Restart": ["on-failure"],
        "RestartSec": ["5s"],
        "RestartPreventExitStatus": ["2"],
        "TimeoutStopSec": ["20s"],
        "User": ["sbtc-watcher"],
        "Group": ["sbtc-watcher"],
        "StateDirectory": ["sbtc-watcher"],
        "StateDirectoryMode": ["0700"],
        "RuntimeDirectory": ["sbtc-watcher"],
        "RuntimeDirectoryMode": ["0755"],
        "UMask": ["0077"],
        "CapabilityBoundingSet": [""],
        "AmbientCapabilities": [""],
        "NoNewPrivileges": ["yes"],
        "ProtectSystem": ["strict"],
        "ProtectHome": ["yes"],
        "PrivateTmp": ["yes"],
        "PrivateDevices": ["yes"],
        "PrivateUsers": ["yes"],
        "ProtectClock": ["yes"],
        "ProtectControlGroups": ["yes"],
        "ProtectHostname": ["yes"],
        "ProtectKernelLogs": ["yes"],
        "ProtectKernelModules": ["yes"],
        "ProtectKernelTunables": ["yes"],
        "ProtectProc": ["invisible"],
        "ProcSubset": ["pid"],
        "RemoveIPC": ["yes"],
        "RestrictAddressFamilies": ["AF_INET AF_INET6 AF_UNIX"],
        "RestrictNamespaces": ["yes"],
        "RestrictRealtime": ["yes"],
        "RestrictSUIDSGID": ["yes"],
        "LockPersonality": ["yes"],
        "KeyringMode": ["private"],
        "MemoryDenyWriteExecute": ["yes"],
        "SystemCallArchitectures": ["native"],
        "SystemCallFilter": ["@system-service", "~@privileged @resources"],
        "SystemCallErrorNumber": ["EPERM"],
        "LimitNOFILE": ["4096"],
        "MemoryMax": ["1G"],
        "TasksMax": ["128"],
    },
    "Install": {"WantedBy": ["multi-user.target"]},
}


def read_unit() -> dict[str, dict[str, list[str]]]:
    """Return the unit's directives; systemd's files may repeat a name, so configparser cannot read them."""
    sections: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if not line.strip() or line.startswith(("#", ";")):
            continue
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = sections.setdefault(found[1], {})
            continue
        name, equals, value = line.partition("=")
        assert equals, line
        section.setdefault(name, []).append(value)
    return sections


def test_the_unit_says_exactly_what_it_promises() -> None:
    """A missing or misspelt line would go unnoticed until needed, e.g. a watchdog that never fires."""
    found = read_unit()
    found["Unit"].pop("Description")
    assert found == EXPECTED


def test_the_unit_waits_longer_for_the_stop_than_the_daemon_takes() -> None:
    from watcher.daemon.main import STOP_TIMEOUT_SECONDS

    assert int(EXPECTED["Service"]["TimeoutStopSec"][0].removesuffix("s")) > STOP_TIMEOUT_SECONDS


def test_every_credential_shown_is_a_setting_or_is_named_by_one() -> None:
    from watcher.config.settings import Settings

    text = UNIT.read_text()
    names = re.findall(r"LoadCredential=(\w+):", text)
    assert names
    for name in names:
        assert name in Settings.model_fields or f"=%d/{name}" in text, name
    variables = re.findall(r"Environment=SBTC_WATCHER_(\w+)=", text)
    assert {variable.lower() for variable in variables} <= set(Settings.model_fields)


def test_the_user_the_state_directory_and_the_shipped_settings_belong_together() -> None:
    """The unit's user is that of sysusers.d; its home is the writable folder of the database."""
    from watcher.config.load import load_settings

    service = EXPECTED["Service"]
    home = f"/var/lib/{service['StateDirectory'][0]}"
    lines = UNIT.with_suffix(".sysusers").read_text().splitlines()
    [made] = [shlex.split(line) for line in lines if line and not line.startswith("#")]
    assert [made[0], made[1], made[4]] == ["u", service["User"][0], home]
    shipped = load_settings(UNIT.with_name("config.toml.example"))
    assert shipped.database_url == f"sqlite:///{home}/sbtc-watcher.db"


def test_the_runtime_file_is_in_the_folder_that_the_unit_creates_and_commands_read() -> None:
    """Without the runtime directory a command would not notice that the daemon has another database."""
    from watcher.daemon.runtime_file import SYSTEM_FOLDER

    assert str(SYSTEM_FOLDER) == f"/run/{EXPECTED['Service']['RuntimeDirectory'][0]}"


INSTANCE = ROOT / "systemd" / "sbtc-watcher@.service.d" / "instance.conf"


def test_an_instance_has_settings_state_and_runtime_folder_of_its_own() -> None:
    """Two daemons of one machine share nothing but the program and its user."""
    lines = INSTANCE.read_text().splitlines()
    for line in (
        "Environment=SBTC_WATCHER_CONFIG=/etc/sbtc-watcher/%i.toml",
        "StateDirectory=sbtc-watcher/%i",
        "RuntimeDirectory=sbtc-watcher-%i",
    ):
        assert line in lines
        name = line.partition("=")[0]
        assert name == "Environment" or lines[lines.index(line) - 1] == f"{name}=", (
            "the plain unit's is reset"
        )


if shutil.which("systemd-analyze"):
    # Part of Debian's package systemd. Elsewhere only the table above checks the unit.

    def test_systemd_takes_the_unit_without_a_complaint(tmp_path: Path) -> None:
        unit = tmp_path / UNIT.name
        unit.write_text(UNIT.read_text().replace("/opt/sbtc-watcher/bin/sbtc-watcher", "/bin/true"))
        found = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60
        )
        assert (found.returncode, found.stdout + found.stderr) == (0, "")

    def test_systemd_takes_an_instance_of_the_template(tmp_path: Path) -> None:
        """As documented: the template is a copy of the unit, with the drop-in beside it."""
        template = tmp_path / "sbtc-watcher@.service"
        template.write_text(UNIT.read_text().replace("/opt/sbtc-watcher/bin/sbtc-watcher", "/bin/true"))
        shutil.copytree(INSTANCE.parent, tmp_path / INSTANCE.parent.name)
        instance = tmp_path / "sbtc-watcher@testnet.service"
        instance.symlink_to(template)
        found = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(instance)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (found.returncode, found.stdout + found.stderr) == (0, "")

    def test_systemd_calls_the_unit_well_protected(tmp_path: Path) -> None:
        found = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(UNIT)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert found.returncode == 0, found.stdout[-500:] + found.stderr
