"""Find the file system that a path is on: SQLite's locks and shared memory work on local ones only."""

from __future__ import annotations

import re

_NETWORK = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
    }
)
_REMOTE_FUSE = re.compile("ssh|gluster|ceph|s3|gcs|rclone|dav|ftp|smb|nfs|blob|goofys|juicefs|moose|afs|vmhgfs|seaweed")
"""FUSE names its program after a dot: ``fuse.sshfs``. Only programs that are known to be remote are refused."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


def network_filesystem(path: str, mountinfo: str) -> str | None:
    """Return the type of the network file system that ``path`` is on; None on a local one: see ``filesystem``."""
    found = filesystem(path, mountinfo)
    return found if _is_network(found) else None


def filesystem(path: str, mountinfo: str) -> str:
    """Return the type of the file system that ``path`` is on; "" if none of the mounts has it.

    :param path: a real path: absolute, without symbolic links.
    :param mountinfo: the text of ``/proc/self/mountinfo``.
    """
    best, found = "", ""
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        # ">=": a later mount on the same point hides the earlier one.
        if inside and len(point) >= len(best):
            best, found = point, after.split(" ", 1)[0]
    return found


def _is_network(kind: str) -> bool:
    if kind in _NETWORK:
        return True
    return kind.startswith("fuse.") and _REMOTE_FUSE.search(kind[5:]) is not None
