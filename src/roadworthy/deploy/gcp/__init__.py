"""Google Cloud: an instance of Compute Engine with its network, address and alarms."""
