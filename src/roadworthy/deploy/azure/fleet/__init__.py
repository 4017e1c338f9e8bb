"""A fleet: a scale set over zones for each release, behind an Application Gateway."""
