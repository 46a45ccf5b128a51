#!/usr/bin/python3
"""Ansible module: secrets as files of a folder, all of them in one round trip."""

from __future__ import annotations

import grp
import os
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: airflow_secret_files
short_description: Writes secrets, one file each
description:
  - One round trip for all of them, where a loop over copy takes one or two for each.
  - Files of other names are left as they are.
options:
  folder:
    description: Where; it must exist, but in a check.
    type: path
    required: true
  group:
    description: Who may read them beside root.
    type: str
    required: true
  secrets:
    description: Name of the file and its content.
    type: dict
    required: true
"""

_MODE = 0o640


def _differs(file: Path, content: bytes, group: int) -> bool:
    try:
        found = file.lstat()
        rights = (found.st_mode & 0o7777, found.st_uid, found.st_gid)
        return rights != (_MODE, 0, group) or file.read_bytes() != content
    except FileNotFoundError:
        return True


def _write(file: Path, content: bytes, group: int) -> None:
    # whole or not at all, and never readable for more than are meant
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
            os.fchown(out.fileno(), 0, group)
            os.fchmod(out.fileno(), _MODE)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink()
        raise


def main() -> None:
    """Write what differs; the answer names the files, and never what is in them."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "group": {"type": "str", "required": True},
            "secrets": {"type": "dict", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    folder = Path(module.params["folder"])
    contents = {n: str(value).encode() for n, value in module.params["secrets"].items()}
    try:
        group = grp.getgrnam(module.params["group"]).gr_gid
    except KeyError:
        if not module.check_mode:
            module.fail_json(msg=f"expected the group {module.params['group']}, found none")
        group = -1
    changed = sorted(n for n, text in contents.items() if _differs(folder / n, text, group))
    if not module.check_mode:
        try:
            for name in changed:
                _write(folder / name, contents[name], group)
        except OSError as error:
            module.fail_json(msg=f"{error.strerror}: {error.filename}")
    module.exit_json(changed=bool(changed), files=changed)


if __name__ == "__main__":
    main()
