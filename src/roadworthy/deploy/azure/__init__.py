"""Microsoft Azure: a virtual machine with its network, address and alarms in a resource group."""
