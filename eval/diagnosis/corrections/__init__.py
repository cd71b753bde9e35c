"""Corrections of what a policy gets and gives, each of which would undo one fault."""
