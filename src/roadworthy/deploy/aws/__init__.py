"""Amazon Web Services: an EC2 instance with its network, address, alarms and registry."""
