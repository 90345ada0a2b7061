"""What this machine can do for itin: checks by subject, each of which tells what is good, doubtful or bad."""
