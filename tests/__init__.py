"""Tests of the gate; each reads as specification."""
