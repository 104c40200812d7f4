"""Files that are whole or not there."""

import errno

from src.common.files import finds_no_room


def test_a_full_disk_is_found_behind_other_errors_and_a_chain_that_ends_in_itself_ends():
    full = OSError(errno.ENOSPC, "No space left on device")
    behind = RuntimeError("the checkpoint")
    behind.__cause__ = full
    assert finds_no_room(behind) and not finds_no_room(ValueError("something else"))
    itself = RuntimeError("round and round")
    itself.__cause__ = itself
    assert not finds_no_room(itself)
