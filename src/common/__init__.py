"""What flows, errors in a line, whole files, locks, the hub, the screen. Imports nothing of the project."""
