"""Tests mirror the packages; behaviour is tested through the public interface."""
