"""The paper's tables and figures: published scores, the request, the results, and their report."""
