"""The target `docker`: containers of this machine's engine, Docker or Podman.

`inside` runs in containers and needs the serving set only.
"""
