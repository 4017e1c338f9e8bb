"""A fleet: a group of machines over a region behind a load balancer, a group for each release."""
