"""Runs -> tables, figures and pages."""
