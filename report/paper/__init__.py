"""The paper's tables and figures: what was published, what is asked for, what came out, and how it is written."""
