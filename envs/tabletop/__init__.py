"""The tabletop world: a 7-joint arm, cubes and goals on a table, simulated with MuJoCo."""
