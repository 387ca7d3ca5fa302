"""tests/e2e/test_image.py -- the root file system of the image: complete, without a shell, and it serves under both names.

Docker is not needed: what the Dockerfile copies into the final stage is built by scripts/rootfs, and a chroot into it,
read-only and as the image's user, is what a container runtime makes of it.
"""
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess

import pytest

from lib import paths, peers
from lib.emulator import Emulator
from lib.ports import free_port
from lib.postgres import Postgres
from lib.process import Process
from lib.sidepool import Proxy
from lib.waiting import eventually

INSTANCE = "my-project:us-central1:my-postgres"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
ROLE = "app@my-project.iam"
NAMES = ["/sidepool", "/cloud-sql-proxy"]
DOCKERFILE = (paths.ROOT / "Dockerfile").read_text(encoding="utf-8")
UID = int(re.search(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)[1])

# One mount namespace a program, so nothing is left behind whatever happens. "runtime": the file systems that every
# container runtime adds; "bare": not even these.
# Each step is an exec: the process the test signals is sidepool itself.
ENTER = """
root=$1 mounts=$2 user=$3
shift 3
mount --bind "$root" "$root"
if [ "$mounts" = runtime ]; then
  mount -t proc proc "$root/proc"
  mount --bind /dev "$root/dev"
fi
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs chroot --userspec="$user:$user" --groups= "$root" "$@"
"""


def enter(root, mounts, *command):
    return ["unshare", "--mount", "--propagation", "private", "sh", "-euc", ENTER, "enter", str(root), mounts,
            str(UID), *command]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    # mkdtemp's 0700 on the way is no obstacle: the root is looked up before the rights are dropped.
    root = tmp_path_factory.mktemp("image") / "root"
    done = subprocess.run([paths.ROOT / "scripts" / "rootfs", "--complete", "--binary", paths.sidepool(), root],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def chroot(image):
    """The root folder, with the mount points a container runtime would add."""
    why = None
    if os.geteuid() != 0:
        why = "only root may chroot"
    else:
        probe = subprocess.run(["unshare", "--mount", "--propagation", "private", "mount", "--bind", image, image],
                               capture_output=True, text=True, check=False)
        if probe.returncode != 0:
            why = f"no mount namespaces here: {probe.stderr.strip()}"
    if why:  # no peer, so not even SIDEPOOL_PEERS=required can ask for it; but it is said
        peers.missing["the image in a chroot"] = why
        pytest.skip(why)
    for mount_point in ("proc", "dev"):
        (image / mount_point).mkdir()
    return image


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role(ROLE)
        yield server


@pytest.fixture(scope="module")
def emulator(postgres):
    with Emulator(postgres, [INSTANCE], principal=PRINCIPAL) as running:
        yield running


def entries(root):
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            yield pathlib.Path(folder, name)


def inside(root, path):
    return "/" + str(path.relative_to(root))


def test_the_only_programs_are_sidepool_and_the_loader(image):
    """No shell, no tool: an intruder finds nothing to run."""
    programs = {inside(image, path) for path in entries(image)
                if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o111}
    assert {name for name in programs if not re.fullmatch(r"/usr/lib(64)?/.*ld-linux[^/]*", name)} == {"/sidepool"}
    assert len(programs) == 2
    assert os.readlink(image / "cloud-sql-proxy") == "sidepool"


def test_everybody_may_read_and_nobody_but_root_may_write(image):
    for path in entries(image):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            continue
        assert mode & (0o005 if stat.S_ISDIR(mode) else 0o004), f"{path} cannot be read by uid {UID}"
        if inside(image, path) != "/tmp":
            assert not mode & 0o022, f"{path} can be written by others"
        assert not mode & (stat.S_ISUID | stat.S_ISGID), f"{path} has a set-id bit"


def test_no_symbolic_link_leads_nowhere_or_out(image):
    for path in entries(image):
        if path.is_symlink():
            target = os.readlink(path)
            there = image / target.lstrip("/") if target.startswith("/") else path.parent / target
            resolved = there.resolve(strict=True)
            assert resolved.is_relative_to(image.resolve()), f"{path} leads out of the image: {target}"


def test_the_user_of_the_image_has_a_name(image):
    passwd = (image / "etc" / "passwd").read_text(encoding="ascii")
    assert [line.split(":")[0] for line in passwd.splitlines() if line.split(":")[2] == str(UID)] == ["nonroot"]


@pytest.mark.parametrize("name", NAMES)
def test_version(chroot, name):
    done = subprocess.run(enter(chroot, "bare", name, "--version"), env={"PATH": os.environ["PATH"]},
                          capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    outside = subprocess.run([paths.sidepool(), "--version"], capture_output=True, text=True, timeout=60, check=False)
    assert re.search(r"\d+\.\d+\.\d+", done.stdout)
    assert done.stdout.split()[-1].removesuffix("+sidepool") == outside.stdout.split()[-1]


def test_there_is_no_shell_to_start(chroot):
    for shell in ("/bin/sh", "/bin/bash", "/bin/dash", "/busybox/sh"):
        done = subprocess.run(enter(chroot, "bare", shell, "-c", "true"), env={"PATH": os.environ["PATH"]},
                              capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 127, (shell, done)  # chroot(1): the command was not found


class Contained(Proxy):
    """sidepool in the chroot; what the kernel says of it is checked before the test goes on."""

    def __init__(self, root, mounts, name, args, env):
        Process.__init__(self, enter(root, mounts, name, *args), env={"HOME": "/home/nonroot", **env}, name=name)
        try:
            self.wait_line(r"ready for new connections")
        except BaseException:
            self.kill()
            raise
        self.root = root

    def status(self, field):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return re.search(rf"^{field}:[ \t]*(.*)$", text, re.MULTILINE)[1].split()

    def root_mount_options(self):
        """Of the last mount on the root: mountinfo(5), fields 5 and 6."""
        lines = pathlib.Path(f"/proc/{self.pid}/mountinfo").read_text(encoding="utf-8").splitlines()
        return [line.split()[5].split(",") for line in lines if line.split()[4] == "/"][-1]


def query(port, text):
    """psql of the machine, from outside; (exit code, stdout, stderr)."""
    done = subprocess.run(
        ["/usr/lib/postgresql/15/bin/psql", "-X", "-w", "-At", "-c", text,
         f"host=127.0.0.1 port={port} user={ROLE} dbname=postgres sslmode=disable"],
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PGCONNECT_TIMEOUT": "30"}, capture_output=True,
        text=True, timeout=60, check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize("mounts", ["bare", "runtime"])
@pytest.mark.parametrize("name", NAMES)
def test_serves_an_iam_user_read_only_and_without_rights(chroot, emulator, postgres, name, mounts):
    port = free_port()
    emulator.reset_records()
    with Contained(chroot, mounts, name, [f"--port={port}", "--auto-iam-authn", INSTANCE],
                   env={"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url,
                        "GCE_METADATA_HOST": emulator.host}) as running:
        assert os.stat(f"/proc/{running.pid}/root").st_ino == chroot.stat().st_ino
        assert running.status("Uid") == [str(UID)] * 4
        assert running.status("Gid") == [str(UID)] * 4
        assert running.status("Groups") == []
        assert running.status("CapEff") == ["0" * 16]
        assert "ro" in running.root_mount_options()

        assert query(port, "select current_user, 6 * 7") == (0, f"{ROLE}|42", "")
        for number in range(5):
            assert query(port, f"select {number}") == (0, str(number), "")
        logins = [login for login in emulator.logins() if login["user"] == ROLE]
        assert {(login["kind"], login["principal"]) for login in logins} == {("iam", PRINCIPAL)}

        assert running.stop(signal.SIGTERM) == 143
    eventually(lambda: postgres.sql("select count(*) from pg_stat_activity where usename = %s", (ROLE,)) == [(0,)],
               "PostgreSQL has no session of ours left")
