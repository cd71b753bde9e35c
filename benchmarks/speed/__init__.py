"""How fast simulation, images, whole runs and batteries are, on a CPU and on a GPU."""
