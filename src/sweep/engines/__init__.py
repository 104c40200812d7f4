"""What runs the trials of a sweep: processes of this machine, or Ray's."""
