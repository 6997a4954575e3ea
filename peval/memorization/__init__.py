"""What an adapter kept of its training data: prompts, item scores and estimates of the probes."""
