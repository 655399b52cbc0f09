"""The door on the inside: the Runtime API, spoken to the processes of one environment."""
