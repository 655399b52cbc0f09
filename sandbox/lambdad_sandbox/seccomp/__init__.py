"""The system calls a guest may make: a policy as data, and its compiler to a BPF filter."""
