"""A fleet: a group of machines across zones behind a load balancer, a group for each release."""
