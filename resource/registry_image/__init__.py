"""A Concourse resource for container images: check, in and out over one verified core."""
