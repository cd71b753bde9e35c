"""Processes in other interpreters: how they are installed, started and supervised, and how messages reach them."""
