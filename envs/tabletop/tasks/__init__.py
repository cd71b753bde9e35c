"""The tasks of the tabletop world, one file each."""
