"""The target `ssh`: a host that SSH reaches, by way of the system's own `ssh`."""
