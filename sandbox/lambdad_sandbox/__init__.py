"""What stands between the daemon and a guest: namespaces, seccomp, cgroups, the zygote, init."""
