"""What the commands share of the terminal: console, lazy groups, signals, live displays."""
