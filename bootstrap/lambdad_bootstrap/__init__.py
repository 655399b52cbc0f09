"""What guests are given to run: the files that stand at /var/runtime inside an environment."""
