"""One step's work done by a group of processes, of this machine or of a cluster."""
