"""Engines that sample completions, and the server."""
