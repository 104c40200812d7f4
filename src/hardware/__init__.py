"""Devices, prices, processes and their agreement."""
