"""The terminal code that commands share: console, lazy groups, signals, live displays."""
