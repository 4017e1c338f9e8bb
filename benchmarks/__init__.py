"""Speed, measured beside a peer in one run; one file a claim."""
