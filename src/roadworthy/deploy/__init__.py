"""Step 4: put a model on hosts: plan, apply, status, logs, rollback, destroy.

`roadworthy.deploy.deploying` has the functions; they are not imported here, because a host runs
`roadworthy.deploy.host` with the serving set only.
"""
